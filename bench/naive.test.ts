// The benchmark in its shortest form: that both sides say the same of each window, and that a difference is seen.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileReducer } from '../host/reducer/reducer-module.ts';
import { FrameKind } from '../host/wire/gen/wire-layout.ts';
import { type CaseOptions, DifferenceError, measureCase } from './naive/measure.ts';
import type { InputWindow } from './native/input.ts';
import type { Mix } from './reducer/fleet.ts';

const UPDATE_FRAMES_HEAD_BYTES = 16 + 24;
const BYTES_SENT_OFFSET = 4;
const module = await compileReducer();

function shortCase(mix: Mix): CaseOptions {
  const load = { sockets: 2_000, agents: 4, updates: mix === 'drain' ? 3 : 1, churn: mix === 'steady' ? 0.1 : 0 };
  return { mix, ...load, spread: 'zipf', rounds: 2, warmup: 1 };
}

for (const mix of ['steady', 'short', 'drain'] as const) {
  test(`plain Maps and reducer.wasm have the same rows and sums at every level for ${mix}`, () => {
    const { records, ours, naive } = measureCase(shortCase(mix), { module });
    // Of 1 000 connections a tenth ends in a window, with another in its place; both ends tell it.
    assert.equal(records, mix === 'steady' ? 2_400 : mix === 'short' ? 2_000 : 6_000);
    assert.deepEqual([ours.length, naive.length], [2, 2]);
  });
}

test('one byte more in one record of one side ends the run', () => {
  assert.throws(
    () => measureCase(shortCase('steady'), { module, alter: addByte }),
    (error) => {
      assert.ok(error instanceof DifferenceError);
      // The first window after the one that opens all sockets.
      assert.match(error.message, /^window 1001: /);
      return true;
    },
  );
});

/** The window with another first frame of updates of the last agent; the one in which sockets open stays as it is. */
function addByte(window: InputWindow): InputWindow {
  const last = window.agents.length - 1;
  const data = window.agents[last].data.map((frame) => frame.slice());
  const updates = data.find((frame) => new DataView(frame.buffer).getUint16(4, true) === FrameKind.UpdateNarrow);
  if (updates === undefined) return window;
  const view = new DataView(updates.buffer);
  // More than the other end has received of it.
  const offset = UPDATE_FRAMES_HEAD_BYTES + BYTES_SENT_OFFSET;
  view.setUint32(offset, view.getUint32(offset, true) + 1, true);
  return { ...window, agents: window.agents.with(last, { ...window.agents[last], data }) };
}
