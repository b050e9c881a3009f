// The benchmark in its shortest form: that both sides say the same of each window, that a difference is seen, and that reducer.wasm has not lost
// its distance to native code. Only ratios of one run are judged: times say what else the machine does.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compileReducer } from '../host/reducer/reducer-module.ts';
import { FrameKind } from '../host/wire/gen/wire-layout.ts';
import { ratiosOf } from './lib/statistics.ts';
import { FIRST_WINDOW, type InputWindow } from './native/input.ts';
import { type CaseOptions, DifferenceError, measureCase } from './native/measure.ts';
import { compileNative, compileObject, findCompilers, writeHeaders } from './native/toolchain.ts';
import type { Mix } from './reducer/fleet.ts';

/** Of the whole loop. These small cases take 1.5 to 2.8 times the CPU of native code, beside busy cores too. */
const WHOLE_RATIO_MAX = 4.5;
const RUN = join(import.meta.dirname, 'run.ts');
const UPDATE_FRAMES_HEAD_BYTES = 16 + 24;
const BYTES_SENT_OFFSET = 4;

const folder = mkdtempSync(join(tmpdir(), 'bench-native-test-'));
const module = await compileReducer();
let binary = '';
let object: WebAssembly.Module | undefined;

before(async () => {
  await writeHeaders(folder);
  binary = compileNative(findCompilers()[0], folder);
  const clang = compileObject(folder, FIRST_WINDOW);
  object = 'module' in clang ? clang.module : undefined;
});

after(() => rmSync(folder, { recursive: true }));

function shortCase(mix: Mix): CaseOptions {
  const load = { sockets: 10_000, agents: 4, updates: mix === 'drain' ? 3 : 1, churn: mix === 'steady' ? 0.01 : 0 };
  return { mix, ...load, spread: 'zipf', rounds: 7, warmup: 10 };
}

for (const mix of ['steady', 'short', 'drain'] as const) {
  test(`reducer.wasm and native code put out the same bytes for ${mix}, at a ratio that is not out of all bounds`, async () => {
    const { records, ours, native, clangWasm } = await measureCase(shortCase(mix), { module, binary, object, folder });
    assert.equal(records, mix === 'steady' ? 10_200 : mix === 'short' ? 10_000 : 30_000);
    assert.equal(clangWasm.length, object === undefined ? 0 : 7);
    const ratio = ratiosOf(
      ours.map(({ whole }) => whole),
      native.map(({ whole }) => whole),
    );
    assert.ok(ratio.median < WHOLE_RATIO_MAX, `${mix}: ${JSON.stringify(ratio)}`);
  });
}

test('one byte more in one record of one side ends the run', async () => {
  const options = { ...shortCase('steady'), rounds: 1, warmup: 1 };
  await assert.rejects(measureCase(options, { module, binary, folder, alter: addByte }), (error) => {
    assert.ok(error instanceof DifferenceError);
    // The first window after the one that opens all sockets.
    assert.match(error.message, /^window 1001: /);
    return true;
  });
});

test('a frame that one side refuses ends the run', async () => {
  const options = { ...shortCase('steady'), rounds: 1, warmup: 1 };
  const alter = (window: InputWindow) =>
    altered(window, (view) => view.setUint32(UPDATE_FRAMES_HEAD_BYTES, 77_777, true));
  await assert.rejects(
    measureCase(options, { module, binary, folder, alter }),
    /native refused 1 frames by window 1001/,
  );
});

test('without a compiler the run says which package has one', () => {
  const { status, stderr } = spawnSync(process.execPath, [RUN, 'native'], { encoding: 'utf8', env: { PATH: folder } });
  assert.equal(status, 1, stderr);
  assert.equal(
    stderr,
    'bench native: no C++ compiler is installed (g++ or clang++). The package g++ has one: apt-get install g++\n',
  );
});

function addByte(window: InputWindow): InputWindow {
  return altered(window, (view) => {
    const offset = UPDATE_FRAMES_HEAD_BYTES + BYTES_SENT_OFFSET;
    view.setUint32(offset, view.getUint32(offset, true) + 1, true);
  });
}

/** The window with another first frame of updates in place of that of the last agent; the one in which sockets open stays as it is. */
function altered(window: InputWindow, change: (view: DataView) => void): InputWindow {
  const last = window.agents.length - 1;
  const data = window.agents[last].data.map((frame) => frame.slice());
  const updates = data.find((frame) => new DataView(frame.buffer).getUint16(4, true) === FrameKind.UpdateNarrow);
  if (updates === undefined) return window;
  change(new DataView(updates.buffer));
  return { ...window, agents: window.agents.with(last, { ...window.agents[last], data }) };
}
