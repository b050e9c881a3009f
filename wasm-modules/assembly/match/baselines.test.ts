import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason } from '../../../host/wire/gen/kernel-events-layout.ts';
import { BaselineKind, FrameKind, OpenFlags } from '../../../host/wire/gen/wire-layout.ts';
import {
  announceFrame,
  baselineFrame,
  openFrame,
  process,
  SPACE,
  snapshotMark,
  totals,
  wideFrame,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const KEY = 9n;
const EDGE = 'host-1/curl > 10.0.0.2 :80';
const sent = (bytesSent: bigint) => totals({ bytesSent });
const adopted = (bytesSent: bigint) => [
  openFrame([clientEnd({ handle: 1, joinKey: KEY, flags: OpenFlags.Existing })]),
  baselineFrame([{ handle: 1, kind: BaselineKind.Adopted, totals: sent(bytesSent) }]),
];

test('an agent that restarts adopts its socket again: what passed while nobody looked is booked, and nothing has closed', () => {
  const hosts = new TwoHosts(MODULE);
  const before = hosts.agent(1, 'curl');
  hosts.say(before, ...adopted(1_000n));
  assert.deepEqual(hosts.close(), { [EDGE]: { active: 1, flowsClient: 1 } });
  const after = hosts.agent(1, 'curl', { session: 70n });
  hosts.say(after, ...adopted(1_050n));
  hosts.detach(before, CloseReason.AgentRestart);
  assert.deepEqual(hosts.close(), { [EDGE]: { forwardBytes: 50, active: 1, flowsClient: 1 } });
  hosts.say(after, wideFrame([{ handle: 1, totals: sent(1_051n) }]));
  assert.deepEqual(hosts.close(), { [EDGE]: { forwardBytes: 1, active: 1, flowsClient: 1 } });
});

test('an end that tells on a new channel what is committed knows nothing of the history that it was adopted with', () => {
  const hosts = new TwoHosts(MODULE);
  const client = hosts.agent(1, 'curl');
  hosts.say(client, ...adopted(1_000n), wideFrame([{ handle: 1, totals: sent(1_200n) }]));
  assert.deepEqual(hosts.close(), { [EDGE]: { forwardBytes: 200, active: 1, flowsClient: 1 } });
  hosts.say(
    client,
    snapshotMark(FrameKind.SnapshotBegin, hosts.window),
    announceFrame({ addressSpaces: [{ handle: SPACE, name: 'default' }], processes: [process(1, { unit: 'curl' })] }),
    openFrame([clientEnd({ handle: 1, joinKey: KEY, flags: OpenFlags.Existing })]),
    baselineFrame([{ handle: 1, kind: BaselineKind.Committed, totals: sent(1_200n) }]),
    snapshotMark(FrameKind.SnapshotEnd, hosts.window),
  );
  hosts.close();
  const server = hosts.agent(2, 'nginx');
  hosts.say(
    server,
    openFrame([serverEnd({ handle: 1, joinKey: KEY })]),
    wideFrame([{ handle: 1, totals: totals({ bytesReceived: 1_250n }) }]),
  );
  const forward = Object.values(hosts.close()).map(({ forwardBytes }) => forwardBytes ?? 0);
  assert.equal(Math.max(...forward), 1_050);
});
