// `tributary replay` as a user runs it, on files that were made up for it.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { pino } from 'pino';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { readEdges } from '../api/edges.ts';
import { startClock } from '../lib/clock.ts';
import { seededRandom } from '../lib/random.ts';
import { recordFleet } from '../reducer/testing/recorded-fleet.ts';
import { ReducerService } from './reducer-service.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
/** More than a pipe holds. */
const SAMPLE_LINES = join(import.meta.dirname, '../../test/golden/sample.jsonl');
const FOLDER = mkdtempSync(join(tmpdir(), 'tributary-replay-'));
/** Far more than the two windows that it takes. */
const PATIENCE_MS = 120_000;
after(() => rmSync(FOLDER, { recursive: true }));

const { paths, truth } = await recordFleet(FOLDER, {
  random: seededRandom(5),
  agents: 4,
  windows: 8,
  connectionsPerWindow: 25,
});

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [MAIN, 'replay', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await exited;
  return { code, out, err };
}

function sumsOf(answers: readonly EdgesAnswer[]): typeof truth {
  const sums = { forwardBytes: 0, reverseBytes: 0, connections: 0 };
  for (const { edges } of answers) {
    for (const { bytes, connections } of edges) {
      sums.forwardBytes += bytes.forward;
      sums.reverseBytes += bytes.reverse;
      sums.connections += connections;
    }
  }
  return sums;
}

test('the lines of every level add up to the truth', async () => {
  const { code, out, err } = await run(...paths, '--json', '--level', 'all', '--workers', '2');
  assert.equal(code, 0, err);
  const answers: EdgesAnswer[] = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const levels = new Set(answers.map(({ level }) => level));
  assert.equal(levels.size, 7);
  for (const level of levels)
    assert.deepEqual(sumsOf(answers.filter((answer) => answer.level === level)), truth, level);
});

test('a table has every edge once, and the last line says what was read', async () => {
  const { out, err } = await run(...paths, '--level', 'role_role');
  const lines = out.trimEnd().split('\n');
  assert.match(lines[0], /^CLIENT +SERVER +SENT/);
  assert.equal(new Set(lines).size, lines.length);
  assert.match(err, /8 windows, \d+ frames, \d+ flows joined\n$/);
});

test('a recording that is cut short is replayed up to its last whole window, and that is said', async () => {
  const path = join(FOLDER, 'short.rec');
  const whole = zstdDecompressSync(readFileSync(paths[0]));
  writeFileSync(path, whole.subarray(0, Math.floor(whole.length / 2)));
  const { code, out, err } = await run(path, '--json');
  assert.equal(code, 0);
  assert.ok(out.length > 0);
  assert.match(err, /short\.rec: .*(no whole frame|unfinished window)/);
});

test('recordings that exclude each other, and files that are none, are refused with a sentence', async () => {
  const copy = join(FOLDER, 'copy.zst');
  copyFileSync(paths[0], copy);
  const text = join(FOLDER, 'text');
  writeFileSync(text, 'not a recording');
  const cases: [string[], RegExp][] = [
    [[paths[0], copy], /hold the same session.*TRB_REPLAY/],
    [[text], /is not a recording of tributary.*TRB_RECORDING/],
    [[join(FOLDER, 'missing')], /does not exist.*TRB_RECORDING/],
    [[paths[0], '--level', 'az'], /--level: "az" is not one of id_id.*TRB_CONFIG/],
    [[paths[0], '--seed', 'xyz'], /--seed: "xyz" is not .*hexadecimal/],
    [[paths[0], '--workers', '0'], /--workers: 0 is not a whole number from 1 to 64/],
  ];
  for (const [args, message] of cases) {
    const { code, err } = await run(...args);
    assert.match(err, message);
    assert.equal(code, 2);
  }
});

test('a reader that is late gets all of it', async () => {
  const command = `'${process.execPath}' '${MAIN}' replay sample --json --level all`;
  const late = spawn('sh', ['-c', `${command} | { sleep 3; cat; }`], { stdio: ['ignore', 'pipe', 'ignore'] });
  assert.equal(await text(late.stdout), readFileSync(SAMPLE_LINES, 'utf8'));
});

test('a running reducer is told the same, at once, as if it had just happened', {
  timeout: 240_000,
}, async (context) => {
  const failures: Error[] = [];
  const address = { path: join(FOLDER, 'agents') };
  const service = new ReducerService(
    {
      ...{ listen: [address], api: { path: join(FOLDER, 'api') }, insecure: false, workers: 2, levels: ['az_az'] },
      ...{ windowNs: 10_000_000_000n, latenessNs: 1_000_000n },
    },
    { log: pino({ level: 'silent' }), environment: {}, fail: (error) => failures.push(error) },
  );
  await service.start();
  context.after(() => service.stop());
  const clock = startClock();
  const { code, err } = await run(...paths, '--reducer', `unix:${address.path}`);
  assert.equal(code, 0, err);
  assert.match(err, /recordings told to unix:/);
  const toldAtMs = clock().ms;
  const told = (): typeof truth => sumsOf([readEdges(service.store, 'role_role', 1_000)]);
  while (told().reverseBytes < truth.reverseBytes) {
    assert.ok(clock().ms - toldAtMs < PATIENCE_MS, `${JSON.stringify(told())} of ${JSON.stringify(truth)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(told(), truth);
  assert.deepEqual(failures, []);
});
