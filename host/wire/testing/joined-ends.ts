// Both ends of a channel in one hand: what one says is carried to the other, at times that the test names.
import assert from 'node:assert/strict';
import type { Instant } from '../../lib/clock.ts';
import { type AgentAction, AgentChannel, type AgentIdentity } from '../agent-channel.ts';
import { encodeFrame } from '../frame.ts';
import { FrameDecoder } from '../frame-decoder.ts';
import { type ReducerAction, ReducerChannel } from '../reducer-channel.ts';
import { ReducerSession } from '../reducer-session.ts';

export const IDENTITY: AgentIdentity = {
  peerRole: 0,
  nodeId: 11n,
  bootId: 12n,
  session: 13n,
  windowNs: 10_000_000_000n,
  nodeName: 'node-a',
  scope: '',
  zone: 'zone-1',
  addressSpace: 'default',
  agentVersion: '0.1.0',
  findings: [{ id: 'kernel', status: 0, text: '6.18' }],
  hooks: [{ name: 'tcp_state', backend: 'tp_btf/inet_sock_set_state', error: '' }],
};
export const INCARNATION = 77n;
export const CREDIT_BYTES = 2_000;
/** The reducer's clock is ahead of the agent's by this. */
export const OFFSET_NS = 5_000_000n;

export function at(ms: number): Instant {
  return { ms, unixNs: BigInt(ms) * 1_000_000n };
}

export function reducerAt(ms: number): Instant {
  return { ms, unixNs: at(ms).unixNs + OFFSET_NS };
}

export function makeAgent(frameBytesMax = 1_000): AgentChannel {
  return new AgentChannel({ identity: IDENTITY, firstWindow: () => 5, random: () => 0, frameBytesMax });
}

export function payload(kind: number, byteCount: number, fill = 1): { kind: number; payload: Uint8Array } {
  return { kind, payload: new Uint8Array(byteCount).fill(fill) };
}

export function sentBytes(actions: readonly (AgentAction | ReducerAction)[]): Uint8Array {
  return Buffer.concat(actions.flatMap((action) => (action.kind === 'send' ? [action.bytes] : [])));
}

export function framesIn(bytes: Uint8Array): { kind: number; seq: number; payload: Uint8Array }[] {
  const decoder = new FrameDecoder();
  decoder.push(bytes);
  const frames = [];
  for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) frames.push(frame);
  return frames;
}

export function kinds(actions: readonly { kind: string }[]): string[] {
  return actions.map((action) => action.kind);
}

export interface Joined {
  agent: AgentChannel;
  channel: ReducerChannel;
  session: ReducerSession;
  welcomed: AgentAction[];
}

/** Connects `agent` at `ms` to a reducer that answers at once. */
export function join(agent: AgentChannel, ms: number, known?: ReducerSession, incarnation = INCARNATION): Joined {
  assert.deepEqual(kinds(agent.tick(at(ms))), ['connect']);
  const channel = new ReducerChannel(reducerAt(ms));
  const [asked] = channel.bytes(sentBytes(agent.connected(at(ms))), reducerAt(ms));
  assert.equal(asked.kind, 'hello');
  if (asked.kind !== 'hello') throw new Error('unreachable');
  const session = known ?? new ReducerSession({ hello: asked.hello, creditBytes: CREDIT_BYTES });
  const terms = { session, resume: known !== undefined, incarnation, windowNs: 10n ** 10n, latenessNs: 5n * 10n ** 9n };
  const answer = channel.welcome({ ...terms, openWindow: 4, committedClosedWindow: 3, heldMs: 0 }, reducerAt(ms));
  const welcomed = agent.bytes(sentBytes(answer), at(ms));
  return { agent, channel, session, welcomed };
}

export function consumeAll(session: ReducerSession): Uint8Array {
  const target = new Uint8Array(1 << 20);
  const byteCount = session.copyQueuedInto(target);
  session.consume(byteCount);
  return target.subarray(0, byteCount);
}

export function frame(kind: number, seq: number, byteCount = 48): Uint8Array {
  return encodeFrame({ kind, seq, payload: new Uint8Array(byteCount) });
}
