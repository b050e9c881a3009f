// The two ends of a channel joined by hand: what each does when the other does as it should, and what it does when it does not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeControl, encodeControl } from './control.ts';
import { encodeFrame, frameHeader } from './frame.ts';
import { FrameKind, GoodbyeReason } from './gen/wire-layout.ts';
import { ReducerChannel } from './reducer-channel.ts';
import { ReducerSession } from './reducer-session.ts';
import {
  at,
  CREDIT_BYTES,
  consumeAll,
  frame,
  framesIn,
  IDENTITY,
  INCARNATION,
  join,
  kinds,
  makeAgent,
  OFFSET_NS,
  payload,
  reducerAt,
  sentBytes,
} from './testing/joined-ends.ts';

test('an agent says who it is, is welcomed with a snapshot, and its frames are consumed and received', () => {
  const { agent, channel, session, welcomed } = join(makeAgent(), 0);
  assert.deepEqual(session.hello, {
    ...IDENTITY,
    ...{
      protocolVersion: 1,
      incarnation: 0n,
      agentTimeNs: 0n,
      firstWindow: 5,
      committedWindow: 0,
      committedClosedWindow: 0,
    },
  });
  assert.deepEqual(kinds(welcomed), ['clock', 'welcome']);
  const [clock, welcome] = welcomed;
  assert.ok(clock.kind === 'clock' && clock.offsetNs === OFFSET_NS);
  assert.ok(welcome.kind === 'welcome' && !welcome.resume && welcome.welcome.openWindow === 4);
  assert.equal(agent.canOffer, true);

  const out = sentBytes(
    agent.offer([
      payload(FrameKind.SnapshotBegin, 32),
      payload(FrameKind.Open, 400),
      payload(FrameKind.SnapshotEnd, 32),
    ]),
  );
  assert.deepEqual(kinds(channel.bytes(out, reducerAt(1))), ['frames']);
  assert.deepEqual(kinds(channel.report(reducerAt(1))), [], 'nothing is received before it is consumed');
  assert.deepEqual(Buffer.from(consumeAll(session)), Buffer.from(out));
  const report = sentBytes(channel.report(reducerAt(2)));
  assert.deepEqual(
    framesIn(report).map((frame) => [frame.kind, frame.seq]),
    [[FrameKind.Received, 0]],
  );
  agent.bytes(report, at(2));
  assert.equal(agent.keptBytes, 0);
  assert.equal(agent.creditBytes, CREDIT_BYTES);
  assert.equal(session.framesAccepted, 3);
});

test('a window beyond the credit is sent in parts as credit returns, and until then no other window may be encoded', () => {
  const { agent, channel, session } = join(makeAgent(), 0);
  const consumed: Buffer[] = [];
  let actions = agent.offer(Array.from({ length: 10 }, (_, index) => payload(FrameKind.Open, 984, index)));
  assert.equal(agent.canOffer, false);
  assert.equal(framesIn(sentBytes(actions)).length, 2);
  for (let round = 0; round < 5; round++) {
    channel.bytes(sentBytes(actions), reducerAt(1));
    assert.ok(session.queuedBytes <= CREDIT_BYTES);
    consumed.push(Buffer.from(consumeAll(session)));
    actions = agent.bytes(sentBytes(channel.report(reducerAt(1))), at(1));
  }
  assert.deepEqual(
    framesIn(Buffer.concat(consumed)).map((frame) => [frame.seq, frame.payload[0]]),
    Array.from({ length: 10 }, (_, i) => [i + 1, i]),
  );
  assert.equal(agent.canOffer, true);
  assert.equal(session.refused.total, 0);
});

test('while a large frame waits, no other window may be encoded, however much credit is left', () => {
  const { agent } = join(makeAgent(CREDIT_BYTES), 0);
  agent.offer([payload(FrameKind.Open, 8), payload(FrameKind.Open, 1_784)]);
  assert.equal(agent.creditBytes, CREDIT_BYTES - 256);
  assert.equal(agent.canOffer, false);
});

test('after a cut the same session goes on after what was consumed, with the same bytes, and repeats are dropped', () => {
  const agent = makeAgent();
  const first = join(agent, 0);
  const one = sentBytes(agent.offer([payload(FrameKind.Open, 96)]));
  first.channel.bytes(one, reducerAt(1));
  consumeAll(first.session);
  const rest = sentBytes(agent.offer([payload(FrameKind.Close, 96), payload(FrameKind.Once, 96)]));
  first.channel.bytes(rest.subarray(0, 120), reducerAt(2));
  assert.deepEqual(kinds(first.channel.disconnected()), ['close']);
  assert.deepEqual(kinds(agent.disconnected(at(3))), ['lost']);
  assert.equal(agent.canOffer, false);

  const second = join(agent, 200, first.session);
  assert.deepEqual(kinds(second.welcomed), ['clock', 'welcome', 'send', 'send']);
  const resent = sentBytes(second.welcomed);
  assert.deepEqual(resent, rest);
  second.channel.bytes(resent, reducerAt(201));
  assert.equal(second.session.framesRepeated, 1, 'the Close was queued before the cut');
  assert.deepEqual(
    framesIn(consumeAll(second.session)).map((frame) => frame.seq),
    [2, 3],
  );
});

test('another incarnation gets a new channel: what was under way is forgotten, numbers start at 1', () => {
  const agent = makeAgent();
  join(agent, 0);
  agent.offer([payload(FrameKind.Open, 96)]);
  agent.disconnected(at(1));
  const { welcomed } = join(agent, 500, undefined, 78n);
  const welcome = welcomed.find((action) => action.kind === 'welcome');
  assert.ok(welcome?.kind === 'welcome' && !welcome.resume);
  assert.equal(agent.keptBytes, 0);
  assert.equal(frameHeader(sentBytes(agent.offer([payload(FrameKind.SnapshotBegin, 32)]))).seq, 1);
});

test('sealed pairs, commits and receipts wait while the peer does not read, then only their newest state is told', () => {
  const { agent, channel, session } = join(makeAgent(), 0);
  channel.blocked(reducerAt(1));
  session.sealed.seal({ closedWindow: 5, window: 5 });
  session.sealed.seal({ closedWindow: 6, window: 6 });
  channel.bytes(sentBytes(agent.offer([payload(FrameKind.Open, 96)])), reducerAt(2));
  consumeAll(session);
  assert.deepEqual(channel.report(reducerAt(2)), []);
  assert.equal(session.commit(5), true);
  const told = framesIn(sentBytes(channel.drained(reducerAt(3))));
  assert.deepEqual(
    told.map((frame) => frame.kind),
    [FrameKind.Sealed, FrameKind.Committed, FrameKind.Received],
  );
  assert.deepEqual(decodeControl('Sealed', told[0].payload), { window: 6, closedWindow: 6 });
  assert.deepEqual(decodeControl('Committed', told[1].payload), { window: 5, closedWindow: 5 });
});

test('a commit reaches the agent once and never falls', () => {
  const { agent } = join(makeAgent(), 0);
  const committed = (window: number, closedWindow: number) =>
    agent.bytes(
      encodeFrame({ kind: FrameKind.Committed, seq: 0, payload: encodeControl('Committed', { window, closedWindow }) }),
      at(1),
    );
  assert.deepEqual(committed(5, 7), [{ kind: 'commit', window: 5 }]);
  assert.deepEqual(committed(5, 7), []);
  assert.deepEqual(committed(4, 6), []);
  assert.deepEqual(agent.committed, { window: 5, closedWindow: 7 });
});

test('what was sealed before a reducer died is committed before the snapshot when another agent knows of the commit', () => {
  const agent = makeAgent();
  const { channel, session } = join(agent, 0);
  session.sealed.seal({ closedWindow: 2, window: 2 });
  session.sealed.seal({ closedWindow: 3, window: 2 });
  session.sealed.seal({ closedWindow: 4, window: 4 });
  agent.bytes(sentBytes(channel.report(reducerAt(1))), at(1));
  agent.disconnected(at(2));
  const { welcomed } = join(agent, 500, undefined, 78n);
  const told = welcomed.filter((action) => action.kind !== 'clock');
  assert.deepEqual(kinds(told), ['commit', 'welcome']);
  assert.ok(told[0].kind === 'commit' && told[0].window === 2, 'closed window 3 held window 2 of this session');
});

test('what one incarnation committed and how its clock runs says nothing to the next', () => {
  const agent = makeAgent();
  const { session } = join(agent, 0);
  const pair = { window: 2, closedWindow: 3 };
  agent.bytes(encodeFrame({ kind: FrameKind.Committed, seq: 0, payload: encodeControl('Committed', pair) }), at(1));
  agent.disconnected(at(2));
  assert.equal(join(agent, 500, session).session, session);
  assert.deepEqual(agent.committed, pair, 'the same incarnation, the same numbers');
  agent.disconnected(at(501));
  assert.deepEqual(kinds(agent.tick(at(1_000))), ['connect']);
  const channel = new ReducerChannel(at(1_000));
  const [asked] = channel.bytes(sentBytes(agent.connected(at(1_000))), at(1_000));
  assert.ok(asked.kind === 'hello' && asked.hello.incarnation === INCARNATION);
  assert.deepEqual([asked.hello.committedWindow, asked.hello.committedClosedWindow], [2, 3]);
  const next = { session: new ReducerSession({ hello: asked.hello, creditBytes: CREDIT_BYTES }), resume: false };
  const terms = {
    ...next,
    incarnation: 78n,
    windowNs: 10n ** 10n,
    latenessNs: 0n,
    openWindow: 9,
    committedClosedWindow: 3,
    heldMs: 0,
  };
  const welcomed = agent.bytes(
    sentBytes(channel.welcome(terms, { ms: 1_010, unixNs: at(1_010).unixNs + 70n })),
    at(1_020),
  );
  assert.deepEqual(agent.committed, { window: 2, closedWindow: 0 });
  const clock = { kind: 'clock', offsetNs: 70n, roundTripNs: 20_000_000n };
  assert.deepEqual(welcomed[0], clock, 'though the old reducer answered faster');
});

test('an answer that was held back shows the clock as well as one that came at once', () => {
  const agent = makeAgent();
  agent.tick(at(0));
  const channel = new ReducerChannel(reducerAt(10));
  const [asked] = channel.bytes(sentBytes(agent.connected(at(0))), reducerAt(10));
  assert.ok(asked.kind === 'hello');
  const session = new ReducerSession({ hello: asked.hello, creditBytes: CREDIT_BYTES });
  const terms = { session, resume: false, incarnation: INCARNATION, windowNs: 10n ** 10n, latenessNs: 0n };
  const answer = channel.welcome(
    { ...terms, openWindow: 4, committedClosedWindow: 3, heldMs: 3_000 },
    reducerAt(3_010),
  );
  const [clock] = agent.bytes(sentBytes(answer), at(3_020));
  const offsetNs = reducerAt(0).unixNs - at(0).unixNs;
  assert.deepEqual(clock, { kind: 'clock', offsetNs, roundTripNs: 20_000_000n });
});

test('a sealed pair is told once on a connection', () => {
  const { channel, session } = join(makeAgent(), 0);
  session.sealed.seal({ closedWindow: 5, window: 5 });
  assert.deepEqual(kinds(channel.report(reducerAt(1))), ['send']);
  session.sealed.seal({ closedWindow: 6, window: 6 });
  const told = framesIn(sentBytes(channel.report(reducerAt(2))));
  assert.deepEqual(
    told.map(({ payload }) => decodeControl('Sealed', payload)),
    [{ window: 6, closedWindow: 6 }],
  );
});

test('after a Welcome delays begin small again', () => {
  const agent = makeAgent();
  for (let ms = 0; ms < 20_000; ms += 50) if (agent.tick(at(ms)).length > 0) agent.disconnected(at(ms));
  join(agent, 30_000);
  agent.disconnected(at(30_001));
  assert.deepEqual(kinds(agent.tick(at(30_101))), ['connect']);
});

test('a session that was quarantined asks for a new channel', () => {
  const { agent, channel } = join(makeAgent(), 0);
  agent.bytes(sentBytes(channel.goodbye(GoodbyeReason.Quarantined)), at(1));
  assert.equal(join(agent, 2_100).session.hello.incarnation, 0n);
});

test('a silent reducer is left after five seconds, an unanswered connect after two, and delays stay within two seconds', () => {
  const agent = makeAgent();
  const { channel } = join(agent, 0);
  agent.bytes(sentBytes(channel.tick(reducerAt(1_000))), at(1_000));
  assert.deepEqual(agent.tick(at(5_900)), []);
  const silent = agent.tick(at(6_000));
  assert.deepEqual(kinds(silent), ['lost', 'close']);
  assert.ok(silent[0].kind === 'lost' && silent[0].reason === 'silent');
  let now = 6_000;
  for (let attempt = 0; attempt < 12; attempt++) {
    const before = now;
    while (agent.tick(at(now)).length === 0) now += 10;
    assert.ok(now - before <= 2_000);
    now += 2_000;
    const lost = agent.tick(at(now))[0];
    assert.ok(lost.kind === 'lost' && lost.reason === 'connect_timeout');
  }
});

test('an agent that stops says goodbye and leaves when everything has been consumed', () => {
  const { agent, channel, session } = join(makeAgent(), 0);
  const window = sentBytes(agent.offer([payload(FrameKind.Open, 96)]));
  channel.bytes(Buffer.concat([window, sentBytes(agent.stop(at(1)))]), reducerAt(1));
  assert.equal(session.goodbyeReason, undefined, 'what came before is not consumed yet');
  assert.equal(agent.canOffer, false);
  consumeAll(session);
  assert.equal(session.goodbyeReason, GoodbyeReason.Stopping);
  assert.deepEqual(kinds(agent.bytes(sentBytes(channel.report(reducerAt(2))), at(2))), ['close', 'stopped']);
  assert.deepEqual(agent.tick(at(60_000)), []);
});

test('what follows a Goodbye is refused', () => {
  const { agent, channel, session } = join(makeAgent(), 0);
  channel.bytes(sentBytes(agent.stop(at(1))), reducerAt(1));
  assert.equal(session.goodbyeReason, GoodbyeReason.Stopping);
  channel.bytes(frame(FrameKind.Open, 2), reducerAt(2));
  assert.equal(session.refused.of('after_goodbye'), 1);
  assert.equal(session.hasQueued, false);
});

test('an agent that stops without an answer leaves after two seconds, and at once without a reducer', () => {
  const { agent } = join(makeAgent(), 0);
  agent.stop(at(1));
  assert.deepEqual(kinds(agent.tick(at(2_000))), []);
  assert.deepEqual(kinds(agent.tick(at(2_001))), ['close', 'stopped']);
  assert.deepEqual(kinds(makeAgent().stop(at(0))), ['stopped']);
});

test('a reducer that says goodbye is tried again, and its reason is told', () => {
  const { agent, channel } = join(makeAgent(), 0);
  const actions = agent.bytes(sentBytes(channel.goodbye(GoodbyeReason.ReducerStopping)), at(1));
  assert.deepEqual(actions, [{ kind: 'lost', reason: 'goodbye', detail: 'ReducerStopping' }, { kind: 'close' }]);
  assert.deepEqual(kinds(agent.tick(at(2_001))), ['connect']);
});

test('a frame of a kind that the agent does not know is skipped and counted, and what follows is read', () => {
  const { agent } = join(makeAgent(), 0);
  const strange = encodeFrame({ kind: 60_000, seq: 0, payload: new Uint8Array(16) });
  const goodbye = encodeControl('Goodbye', { reason: GoodbyeReason.ReducerStopping });
  const known = encodeFrame({ kind: FrameKind.Goodbye, seq: 0, payload: goodbye });
  assert.deepEqual(kinds(agent.bytes(Buffer.concat([strange, known]), at(1))), ['lost', 'close']);
  assert.equal(agent.framesSkipped, 1);
});

test('the echo of a WindowEnd measures the offset at once, even while the window waits', () => {
  const { agent, channel } = join(makeAgent(), 0);
  const end = {
    window: 5,
    fromWindow: 5,
    eventsLost: 0n,
    socketsFolded: 0n,
    socketsRefused: 0n,
    windowsCoalesced: 0n,
    journalSkipped: 0n,
  };
  const value = { ...end, agentTimeNs: at(10).unixNs, processesUnnamed: 0n, socketsLive: 0, blindMs: 0 };
  const out = sentBytes(agent.offer([{ kind: FrameKind.WindowEnd, payload: encodeControl('WindowEnd', value) }]));
  const echoed = channel.bytes(out, { ms: 11, unixNs: at(11).unixNs + 9_000_000n });
  assert.deepEqual(kinds(echoed), ['frames', 'send']);
  const actions = agent.bytes(sentBytes(echoed), at(12));
  assert.deepEqual(
    actions,
    [{ kind: 'clock', offsetNs: OFFSET_NS, roundTripNs: 0n }],
    'the shorter round trip of Welcome wins',
  );
  const heartbeat = channel.tick(reducerAt(1_100));
  assert.deepEqual(kinds(heartbeat), ['send']);
  assert.deepEqual(agent.bytes(sentBytes(heartbeat), at(1_100)), [], 'the same echo again measures nothing');
});

test('a reducer that confirms what was never sent is left, and asked for a new channel', () => {
  const { agent, session } = join(makeAgent(), 0);
  const received = encodeControl('Received', { seq: 9, reducerTimeNs: 0n, agentTimeNs: 0n });
  const actions = agent.bytes(encodeFrame({ kind: FrameKind.Received, seq: 0, payload: received }), at(1));
  assert.ok(actions[0].kind === 'lost' && actions[0].reason === 'impossible_receipt');
  assert.equal(join(agent, 2_100, session).session.hello.incarnation, 0n);
});
