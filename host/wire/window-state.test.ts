// The small parts that both ends share: sealed windows, known commits, the clock offset.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClockOffset } from './clock-offset.ts';
import { decodeControl, encodeControl } from './control.ts';
import { KnownCommits } from './known-commits.ts';
import { SealedWindows } from './sealed-windows.ts';
import { hello } from './testing/hello.ts';

test('a commit takes the pairs up to its closed window and names the last of them', () => {
  const sealed = new SealedWindows();
  assert.equal(sealed.seal({ closedWindow: 4, window: 3 }), true);
  assert.equal(sealed.seal({ closedWindow: 4, window: 9 }), false);
  assert.equal(sealed.seal({ closedWindow: 3, window: 9 }), false);
  sealed.seal({ closedWindow: 6, window: 5 });
  sealed.seal({ closedWindow: 8, window: 6 });
  assert.equal(sealed.commit(3), undefined);
  assert.deepEqual(sealed.commit(7), { closedWindow: 6, window: 5 });
  assert.deepEqual(sealed.list(), [{ closedWindow: 8, window: 6 }]);
});

test('pairs beyond the limit are given up from the oldest on, and counted', () => {
  const sealed = new SealedWindows();
  for (let window = 1; window <= 4_100; window++) sealed.seal({ closedWindow: window, window });
  assert.equal(sealed.dropped, 4);
  assert.deepEqual(sealed.list()[0], { closedWindow: 5, window: 5 });
});

test('commits of one incarnation say nothing of another, rise, and the oldest of many are forgotten', () => {
  const commits = new KnownCommits();
  commits.note(1n, 10);
  commits.note(1n, 8);
  commits.note(2n, 20);
  commits.note(0n, 99);
  assert.deepEqual(
    [1n, 2n, 3n, 0n].map((incarnation) => commits.of(incarnation)),
    [10, 20, 0, 0],
  );
  for (let incarnation = 3n; incarnation <= 65n; incarnation++) commits.note(incarnation, 1);
  assert.deepEqual([commits.of(1n), commits.of(2n)], [0, 20]);
});

test('an agent tells of incarnations before this one, and cannot lie about this one', () => {
  const commits = new KnownCommits();
  commits.noteHello(hello({ incarnation: 8n, committedClosedWindow: 30 }), 9n);
  commits.noteHello(hello({ incarnation: 9n, committedClosedWindow: 40 }), 9n);
  assert.deepEqual([commits.of(8n), commits.of(9n)], [30, 0]);
});

test('of the last eight round trips the shortest gives the offset; slow and impossible ones are left out', () => {
  const clock = new ClockOffset();
  assert.equal(clock.offsetNs, undefined);
  assert.equal(clock.add(1_000n, 6_500n, 2_000n), true);
  assert.equal(clock.offsetNs, 5_000n);
  assert.equal(clock.add(1_000n, 9_000n, 9_000n), false, 'a longer round trip');
  assert.equal(clock.add(1_000n, 9_000n, 999n), false, 'an answer before its question');
  assert.equal(clock.add(0n, 1n, 6_000_000_000n), false, 'an answer that waited');
  assert.equal(clock.add(1_000n, 6_300n, 1_200n), true);
  assert.deepEqual([clock.offsetNs, clock.roundTripNs], [5_200n, 200n]);
  for (let sample = 0; sample < 8; sample++) clock.add(10_000n, 20_000n, 10_500n);
  assert.equal(clock.offsetNs, 9_750n, 'a step of either clock wears off');
  clock.reset();
  assert.equal(clock.offsetNs, undefined);
});

test('an answer that waited gives the offset as long as there is no other', () => {
  const clock = new ClockOffset();
  const hour = 3_600_000_000_000n;
  assert.equal(clock.add(0n, hour + 3_000_000_000n, 6_000_000_000n), true);
  assert.equal(clock.offsetNs, hour);
  assert.equal(clock.add(0n, hour + 1n, 5_500_000_000n), false, 'another one that waited');
  assert.equal(clock.add(0n, hour + 2_000n, 1_000n), true);
  assert.equal(clock.offsetNs, hour + 1_500n);
});

test('control frames are read back as they were written, and nothing else is read as one', () => {
  const received = { seq: 7, reducerTimeNs: 8n, agentTimeNs: 9n };
  const payload = encodeControl('Received', received);
  assert.equal(payload.length % 8, 0);
  assert.deepEqual(decodeControl('Received', payload), received);
  assert.equal(decodeControl('Welcome', payload), undefined, 'too short for a Welcome');
  assert.equal(decodeControl('Received', payload.subarray(0, -8)), undefined);
  assert.equal(decodeControl('Received', new Uint8Array(0)), undefined);
  assert.equal(
    decodeControl('Committed', encodeControl('Goodbye', { reason: 1 }))?.window,
    1,
    'kinds, not payloads, tell structs apart',
  );
  const two = encodeControl('Received', received);
  new DataView(two.buffer).setUint32(20, 2, true);
  assert.equal(decodeControl('Received', two), undefined);
  new DataView(two.buffer).setUint32(20, 0, true);
  assert.equal(decodeControl('Received', two), undefined);
});
