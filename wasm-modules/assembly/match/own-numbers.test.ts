import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason, Role } from '../../../host/wire/gen/kernel-events-layout.ts';
import { BaselineKind, OpenFlags, type Totals } from '../../../host/wire/gen/wire-layout.ts';
import {
  baselineFrame,
  close,
  closeFrame,
  fold,
  foldFrame,
  openFrame,
  settled,
  settledFrame,
  totals,
  wideFrame,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressOf, clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const EDGE = 'host-1/curl > host-2/nginx :80';
const OLDER = { handle: 1, joinKey: 5n, flags: OpenFlags.Existing };

const update = (told: Partial<Totals>): Uint8Array => wideFrame([{ handle: 1, totals: totals(told) }]);
const baseline = (kind: number, told: Partial<Totals>): Uint8Array =>
  baselineFrame([{ handle: 1, kind, totals: totals(told) }]);

function bothEnds() {
  const hosts = new TwoHosts(MODULE);
  return { hosts, client: hosts.agent(1, 'curl'), server: hosts.agent(2, 'nginx') };
}

test('each end says its own, and what one tells later is not booked again', () => {
  const { hosts, client, server } = bothEnds();
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 5n })]));
  hosts.say(client, update({ bytesSent: 100n, segmentsSent: 3n, bytesReceived: 40n }));
  hosts.say(server, openFrame([serverEnd({ handle: 1, joinKey: 5n })]));
  hosts.say(server, update({ bytesReceived: 90n, segmentsReceived: 2n, bytesSent: 45n }));
  const first = hosts.close()[EDGE];
  assert.deepEqual([first.forwardBytes, first.forwardPackets, first.reverseBytes], [100, 3, 45]);
  assert.deepEqual(hosts.own[EDGE], {
    ...{ clientBytesSent: 100, clientPacketsSent: 3, clientBytesReceived: 40 },
    ...{ serverBytesSent: 45, serverBytesReceived: 90, serverPacketsReceived: 2 },
  });
  hosts.say(server, update({ bytesReceived: 100n, segmentsReceived: 2n, bytesSent: 45n }));
  assert.deepEqual(hosts.close()[EDGE], { active: 1, flowsServer: 1 });
  assert.deepEqual(hosts.own[EDGE], { serverBytesReceived: 10 });
  hosts.say(client, update({ bytesSent: 120n, segmentsSent: 4n, bytesReceived: 45n }));
  hosts.close();
  assert.deepEqual(hosts.own[EDGE], { clientBytesSent: 20, clientPacketsSent: 1, clientBytesReceived: 5 });
});

test('an end that nobody watches says nothing', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 5n })]), update({ bytesSent: 100n }));
  hosts.close();
  assert.deepEqual(hosts.own, { 'host-1/curl > 10.0.0.2 :80': { clientBytesSent: 100 } });
});

test('an agent that starts anew continues where its end was', () => {
  const { hosts, client, server } = bothEnds();
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 5n })]), update({ bytesSent: 100n }));
  hosts.say(server, openFrame([serverEnd({ handle: 1, joinKey: 5n })]), update({ bytesReceived: 90n }));
  hosts.close();
  hosts.detach(client, CloseReason.AgentRestart);
  const again = hosts.agent(1, 'curl', { session: 77n });
  hosts.say(again, openFrame([clientEnd(OLDER)]), baseline(BaselineKind.Adopted, { bytesSent: 130n }));
  hosts.say(again, update({ bytesSent: 150n }));
  assert.equal(hosts.close()[EDGE].forwardBytes, 50);
  assert.deepEqual(hosts.own[EDGE], { clientBytesSent: 50 });
});

test('a new reducer shows what lies above the committed total of the end itself', () => {
  const { hosts, client, server } = bothEnds();
  hosts.say(client, openFrame([clientEnd({ ...OLDER, flags: OpenFlags.Existing | OpenFlags.Counted })]));
  hosts.say(client, baseline(BaselineKind.Committed, { bytesSent: 100n }), update({ bytesSent: 130n }));
  hosts.say(server, openFrame([serverEnd({ ...OLDER, flags: OpenFlags.Existing | OpenFlags.Counted })]));
  hosts.say(server, baseline(BaselineKind.Committed, { bytesReceived: 90n }), update({ bytesReceived: 130n }));
  assert.equal(hosts.close()[EDGE].forwardBytes, 30);
  assert.deepEqual(hosts.own[EDGE], { clientBytesSent: 30, serverBytesReceived: 40 });
});

test('an end shows nothing of what passed before its agent looked, also when the other end saw it', () => {
  const { hosts, client, server } = bothEnds();
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 5n })]), update({ bytesSent: 100n }));
  hosts.close();
  hosts.say(server, openFrame([serverEnd(OLDER)]), baseline(BaselineKind.Adopted, { bytesReceived: 80n }));
  hosts.say(server, update({ bytesReceived: 95n }));
  hosts.close();
  assert.deepEqual(hosts.own[EDGE], { serverBytesReceived: 15 });
});

test('what is settled adds nothing, and of folds is shown what is booked', () => {
  const { hosts, client, server } = bothEnds();
  hosts.say(client, settledFrame([settled({ joinKey: 5n, counted: 1, window: 1, totals: totals({ bytesSent: 9n }) })]));
  hosts.close();
  assert.deepEqual(hosts.own, {});
  hosts.say(server, foldFrame([serverFold(70n)]));
  hosts.close();
  assert.deepEqual(hosts.own, { '10.0.0.1 > host-2/nginx :80': { serverBytesReceived: 70 } });
  hosts.say(client, foldFrame([fold({ totals: totals({ bytesSent: 100n }) })]));
  hosts.close();
  assert.deepEqual(hosts.own, { 'host-1/curl > 10.0.0.2 :80': { clientBytesSent: 30 } });
});

function serverFold(bytesReceived: bigint) {
  const addresses = { localAddress: addressOf(2), remoteAddress: addressOf(1) };
  return fold({ ...addresses, role: Role.Server, totals: totals({ bytesReceived }) });
}

test('the close of an end tells the last of it', () => {
  const { hosts, client, server } = bothEnds();
  hosts.say(client, openFrame([clientEnd({ handle: 1, joinKey: 5n })]), update({ bytesSent: 100n }));
  hosts.say(server, openFrame([serverEnd({ handle: 1, joinKey: 5n })]), update({ bytesReceived: 60n }));
  hosts.close();
  hosts.say(client, closeFrame([close(1, totals({ bytesSent: 101n }))]));
  hosts.say(server, closeFrame([close(1, totals({ bytesReceived: 98n }))]));
  const last = hosts.close()[EDGE];
  assert.deepEqual([last.forwardBytes, last.residualBytes, last.judgedBytes], [1, 3, 101]);
  assert.deepEqual(hosts.own[EDGE], { clientBytesSent: 1, serverBytesReceived: 38 });
});
