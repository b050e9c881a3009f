import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AgentAction, AgentChannel } from './agent-channel.ts';
import { encodeControl } from './control.ts';
import { encodeFrame } from './frame.ts';
import { FRAME_HEADER_SIZE, FrameKind } from './gen/wire-layout.ts';
import { decodeHello, type Hello } from './gen/wire-tables.ts';

const OWN_WINDOW_NS = 10_000_000_000n;
const REDUCER_WINDOW_NS = 1_000_000_000n;
const at = (ms: number) => ({ ms, unixNs: 1_700_000_000_000_000_000n + BigInt(ms) * 1_000_000n });

function helloOf(actions: readonly AgentAction[]): Hello {
  const sent = actions.find((action) => action.kind === 'send');
  assert.ok(sent?.kind === 'send');
  return decodeHello(sent.bytes.slice(FRAME_HEADER_SIZE)) ?? assert.fail('no Hello was sent');
}

test('after a Welcome, Hello counts in the windows of the reducer, for that is what its window numbers mean', () => {
  const identity = {
    peerRole: 0,
    nodeId: 1n,
    bootId: 2n,
    session: 3n,
    windowNs: OWN_WINDOW_NS,
    nodeName: 'host',
    scope: '',
    zone: '',
    addressSpace: 'default',
    agentVersion: '0.1.0',
  } as const;
  const channel = new AgentChannel({ identity, firstWindow: () => 7, random: () => 0 });
  channel.tick(at(0));
  assert.equal(helloOf(channel.connected(at(1))).windowNs, OWN_WINDOW_NS);
  const payload = encodeControl('Welcome', {
    incarnation: 9n,
    windowNs: REDUCER_WINDOW_NS,
    latenessNs: 0n,
    creditBytes: 4n << 20n,
    reducerTimeNs: at(2).unixNs,
    agentTimeNs: at(1).unixNs,
    openWindow: 7,
    committedClosedWindow: 0,
    committedWindow: 0,
    lastReceivedSeq: 0,
    resume: 0,
    known: 0,
    takenWindow: 0,
  });
  channel.bytes(encodeFrame({ kind: FrameKind.Welcome, seq: 0, payload }), at(2));
  assert.ok(channel.isOpen);
  channel.disconnected(at(3));
  channel.tick(at(5_000));
  assert.equal(helloOf(channel.connected(at(5_001))).windowNs, REDUCER_WINDOW_NS);
});
