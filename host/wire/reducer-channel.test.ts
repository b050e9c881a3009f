// The reducer's end beside hostile bytes and peers that say nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeControl } from './control.ts';
import { encodeFrame } from './frame.ts';
import { FrameKind, GoodbyeReason } from './gen/wire-layout.ts';
import { encodeHello } from './gen/wire-tables.ts';
import { encodeListeners } from './listeners.ts';
import { encodeLosses, type Losses } from './losses.ts';
import { HELLO_BYTES_MAX, type ReducerAction, ReducerChannel } from './reducer-channel.ts';
import { FRAMES_REFUSED_MAX } from './reducer-session.ts';
import { hello } from './testing/hello.ts';
import {
  consumeAll,
  frame,
  framesIn,
  IDENTITY,
  join,
  kinds,
  makeAgent,
  payload,
  reducerAt,
  sentBytes,
} from './testing/joined-ends.ts';

const HELLO = hello({ ...IDENTITY, firstWindow: 5 });

test('before Hello nothing but a small, timely, well-formed Hello of this version is taken', () => {
  const hello = encodeFrame({ kind: FrameKind.Hello, seq: 0, payload: encodeHello(HELLO) });
  const large = encodeFrame({
    kind: FrameKind.Hello,
    seq: 0,
    payload: encodeHello({ ...HELLO, zone: 'z'.repeat(HELLO_BYTES_MAX) }),
  });
  const future = encodeFrame({ kind: FrameKind.Hello, seq: 0, payload: encodeHello({ ...HELLO, protocolVersion: 2 }) });
  const cases: [string, Uint8Array, string][] = [
    ['another kind', frame(FrameKind.Open, 1), 'before_welcome'],
    ['a Hello that does not verify', frame(FrameKind.Hello, 0), 'malformed'],
    ['a Hello that is too large', large, 'length'],
    ['a frame after Hello, before Welcome', Buffer.concat([hello, frame(FrameKind.Open, 1)]), 'before_welcome'],
    ['another version', future, 'goodbye'],
  ];
  for (const [name, bytes, reason] of cases) {
    const channel = new ReducerChannel(reducerAt(0));
    const close = channel.bytes(bytes, reducerAt(1)).find((action) => action.kind === 'close');
    assert.ok(close?.kind === 'close' && close.reason === reason, name);
    if (reason !== 'goodbye') assert.equal(channel.refused.total, 1, name);
    assert.deepEqual(channel.bytes(hello, reducerAt(2)), [], 'a closed connection does nothing more');
  }
  const slow = new ReducerChannel(reducerAt(0));
  assert.deepEqual(slow.tick(reducerAt(4_999)), []);
  assert.deepEqual(slow.tick(reducerAt(5_000)), [{ kind: 'close', reason: 'hello_late' }]);
});

test('a gap, more than the credit, and a peer that does not read end the connection with their reason', () => {
  const gap = join(makeAgent(), 0);
  assert.deepEqual(gap.channel.bytes(frame(FrameKind.Open, 2), reducerAt(1)), [{ kind: 'close', reason: 'seq_gap' }]);
  const greedy = join(makeAgent(), 0);
  const beyond = Buffer.concat([
    frame(FrameKind.Open, 1, 984),
    frame(FrameKind.Open, 2, 984),
    frame(FrameKind.Open, 3, 984),
  ]);
  assert.deepEqual(kinds(greedy.channel.bytes(beyond, reducerAt(1))), ['close', 'frames']);
  assert.equal(greedy.session.refused.of('credit_exceeded'), 1);
  const deaf = join(makeAgent(), 0);
  deaf.channel.blocked(reducerAt(1));
  assert.deepEqual(kinds(deaf.channel.tick(reducerAt(10_000))), []);
  assert.deepEqual(deaf.channel.tick(reducerAt(10_001)), [{ kind: 'close', reason: 'not_reading' }]);
});

test('a queued frame does not keep the piece alive that it came in', () => {
  const { channel, session, agent } = join(makeAgent(), 0);
  const out = sentBytes(agent.offer([payload(FrameKind.Open, 96, 7)]));
  const piece = Buffer.alloc(65_536);
  const repeat = frame(FrameKind.Open, 1, 48);
  out.forEach((byte, index) => {
    piece[index] = byte;
  });
  for (let at = out.length; at + repeat.length <= piece.length; at += repeat.length) piece.set(repeat, at);
  channel.bytes(piece, reducerAt(1));
  assert.ok(session.framesRepeated > 1_000);
  piece.fill(0);
  assert.deepEqual(framesIn(consumeAll(session))[0].payload, new Uint8Array(96).fill(7));
});

test('an agent of whom nothing comes for three windows is cut off, but not while its frames wait', () => {
  const { channel, session, agent } = join(makeAgent(), 0);
  channel.bytes(sentBytes(agent.offer([payload(FrameKind.Open, 96)])), reducerAt(10));
  for (let ms = 1_000; ms <= 60_000; ms += 1_000) {
    assert.ok(channel.tick(reducerAt(ms)).every((action) => action.kind === 'send'));
  }
  consumeAll(session);
  assert.deepEqual(kinds(channel.tick(reducerAt(89_999))), ['send']);
  assert.deepEqual(channel.tick(reducerAt(90_000)), [{ kind: 'close', reason: 'silent' }]);
  assert.deepEqual(channel.tick(reducerAt(99_000)), []);
});

test('listeners that are none are refused, the others replace those before', () => {
  const { channel, session } = join(makeAgent(), 0);
  const none = encodeFrame({ kind: FrameKind.Listener, seq: 2, payload: encodeListeners([]) });
  channel.bytes(Buffer.concat([frame(FrameKind.Listener, 1, 8), none]), reducerAt(1));
  assert.equal(session.refused.of('malformed'), 1);
  assert.deepEqual(session.takeListeners(), []);
  assert.equal(session.takeListeners(), undefined, 'not told since');
});

test('how many listeners were left out is told with each Loss', () => {
  const { channel, session } = join(makeAgent(), 0);
  const loss = (seq: number, losses: Losses) =>
    encodeFrame({ kind: FrameKind.Loss, seq, payload: encodeLosses(losses) });
  channel.bytes(Buffer.concat([frame(FrameKind.Loss, 1, 8), loss(2, { Listeners: 3, Drops: 9 })]), reducerAt(1));
  assert.equal(session.refused.of('malformed'), 1);
  assert.equal(session.takeListenersOmitted(), 3);
  assert.equal(session.takeListenersOmitted(), undefined, 'not told since');
  channel.bytes(loss(3, { Drops: 9 }), reducerAt(2));
  assert.equal(session.takeListenersOmitted(), 0);
});

test('a refused frame keeps its place in the sequence; too many of them quarantine the session', () => {
  const { channel, session } = join(makeAgent(), 0);
  channel.bytes(Buffer.concat([frame(FrameKind.Welcome, 1), frame(FrameKind.Open, 2)]), reducerAt(1));
  assert.equal(session.refused.of('direction'), 1);
  assert.deepEqual(
    framesIn(consumeAll(session)).map(({ seq }) => seq),
    [2],
  );
  assert.equal(session.receivedSeq, 2);
  let actions: ReducerAction[] = [];
  for (let seq = 3; seq < FRAMES_REFUSED_MAX + 3; seq++)
    actions = channel.bytes(frame(FrameKind.Hello, seq), reducerAt(2));
  assert.deepEqual(actions.at(-1), { kind: 'close', reason: 'quarantined' });
  assert.deepEqual(decodeControl('Goodbye', framesIn(sentBytes(actions))[0].payload), {
    reason: GoodbyeReason.Quarantined,
  });
  assert.equal(session.framesAccepted + session.refused.of('direction'), FRAMES_REFUSED_MAX + 2);
});
