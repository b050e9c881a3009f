// How long an agent waits after each way of not getting in.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AgentAction, AgentChannel } from './agent-channel.ts';
import { encodeControl } from './control.ts';
import { encodeFrame } from './frame.ts';
import { FrameKind, GoodbyeReason } from './gen/wire-layout.ts';

const at = (ms: number) => ({ ms, unixNs: 1_700_000_000_000_000_000n + BigInt(ms) * 1_000_000n });

/** Backs off without chance: each delay is its longest. */
function createChannel(): AgentChannel {
  const identity = {
    ...{ peerRole: 0, nodeId: 1n, bootId: 2n, session: 3n, windowNs: 1_000_000_000n },
    ...{ nodeName: 'host', scope: '', zone: '', addressSpace: 'default', agentVersion: '0.1.0' },
  };
  return new AgentChannel({ identity, firstWindow: () => 7, random: () => 0 });
}

/** Milliseconds from `fromMs` until the channel connects again. */
function waitedMs(channel: AgentChannel, fromMs: number): number {
  for (let ms = 0; ms <= 100_000; ms += 50)
    if (channel.tick(at(fromMs + ms)).some(({ kind }) => kind === 'connect')) return ms;
  return assert.fail('it never connects again');
}

function lossOf(actions: readonly AgentAction[]): string {
  const lost = actions.find((action) => action.kind === 'lost');
  return lost?.kind === 'lost' ? `${lost.reason} ${lost.detail}` : '';
}

function fail(channel: AgentChannel, how: (ms: number) => AgentAction[], times: number): number[] {
  let ms = 0;
  return Array.from({ length: times }, () => {
    how(ms);
    const waited = waitedMs(channel, ms);
    ms += waited;
    return waited;
  });
}

const goodbye = (reason: GoodbyeReason): Uint8Array =>
  encodeFrame({ kind: FrameKind.Goodbye, seq: 0, payload: encodeControl('Goodbye', { reason }) });

test('a connection that just ends is tried again soon, at most every two seconds', () => {
  const channel = createChannel();
  channel.tick(at(0));
  const waits = fail(channel, (ms) => channel.disconnected(at(ms)), 8);
  assert.deepEqual(waits, [100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000]);
});

test('a handshake that failed is tried again after a second and then ever later, up to half a minute', () => {
  const channel = createChannel();
  channel.tick(at(0));
  const waits = fail(channel, (ms) => channel.disconnected(at(ms), 'handshake', 'expired'), 8);
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test('a reducer that says goodbye because of the certificate is left alone as long, any other not', () => {
  const cases: [GoodbyeReason, number][] = [
    [GoodbyeReason.NoCertificate, 1_000],
    [GoodbyeReason.UnknownAuthority, 1_000],
    [GoodbyeReason.TlsRequired, 1_000],
    [GoodbyeReason.NodeName, 1_000],
    [GoodbyeReason.ReducerStopping, 100],
  ];
  for (const [reason, first] of cases) {
    const channel = createChannel();
    channel.tick(at(0));
    channel.connected(at(0));
    channel.bytes(goodbye(reason), at(0));
    assert.equal(waitedMs(channel, 0), first);
  }
});

test('new certificates are tried at once, and the waiting begins anew', () => {
  const channel = createChannel();
  channel.tick(at(0));
  fail(channel, (ms) => channel.disconnected(at(ms), 'handshake'), 6);
  channel.disconnected(at(200_000), 'handshake');
  channel.retry();
  assert.equal(waitedMs(channel, 200_000), 0);
  channel.disconnected(at(200_000), 'handshake');
  assert.equal(waitedMs(channel, 200_000), 1_000);
});

test('TLS has ten seconds from the moment that the connection stands, the connection two before that', () => {
  const channel = createChannel();
  channel.tick(at(0));
  channel.securing(at(1_900));
  assert.equal(lossOf(channel.tick(at(11_800))), '');
  assert.equal(lossOf(channel.tick(at(11_900))), 'connect_timeout ');
  const other = createChannel();
  other.tick(at(0));
  assert.equal(lossOf(other.tick(at(2_000))), 'connect_timeout ');
});
