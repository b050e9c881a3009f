// `tributary replay` as a user runs it, on files that were made up for it.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, type TestContext, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { pino } from 'pino';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { readEdges } from '../api/edges.ts';
import { KeptWindow } from '../api/kept-window.ts';
import type { WindowStore } from '../api/window-store.ts';
import { LEVEL_NAMES, type LevelName } from '../export/levels.ts';
import { startClock } from '../lib/clock.ts';
import { seededRandom } from '../lib/random.ts';
import { giveReturned } from '../lib/returned-memory.ts';
import { recordFleet } from '../reducer/testing/recorded-fleet.ts';
import { NodeKind } from '../wire/gen/records-layout.ts';
import { ReducerService, type ReducerServiceOptions } from './reducer-service.ts';

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

test('a window of more rows than leave a worker in one piece adds up, too', async () => {
  const options = { random: seededRandom(6), agents: 24, windows: 2, connectionsPerWindow: 6_000 };
  const many = await recordFleet(mkdtempSync(join(FOLDER, 'many-')), options);
  const { code, out, err } = await run(...many.paths, '--json', '--level', 'id_id', '--workers', '1');
  assert.equal(code, 0, err);
  const answers: EdgesAnswer[] = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(sumsOf(answers), many.truth);
  // This is one level of seven, and a piece holds 4 369 points.
  assert.ok(Math.max(...answers.map(({ edges }) => edges.length)) > 1_000);
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

/** A reducer with an API and a listener for Prometheus, both on this host; returns where the latter is. */
async function startService(
  context: TestContext,
  name: string,
  options: Partial<ReducerServiceOptions>,
): Promise<{ service: ReducerService; address: { path: string }; metrics: string; failures: Error[] }> {
  const failures: Error[] = [];
  const lines: string[] = [];
  const address = { path: join(FOLDER, `${name}-agents`) };
  const service = new ReducerService(
    {
      ...{
        listen: [address],
        api: { path: join(FOLDER, `${name}-api`) },
        insecure: false,
        workers: 2,
        levels: ['az_az'],
      },
      ...{ windowNs: 10_000_000_000n, latenessNs: 1_000_000n, prometheus: { host: '127.0.0.1', port: 0 } },
      ...options,
    },
    {
      log: pino({ level: 'info' }, { write: (line: string) => void lines.push(line) }),
      environment: {},
      fail: (error) => failures.push(error),
    },
  );
  await service.start();
  context.after(() => service.stop());
  const metrics = lines.join('').match(/http:\/\/[^ "]*\/metrics/)?.[0];
  assert(metrics !== undefined);
  return { service, address, metrics, failures };
}

/** Tells the fleet to the service, and waits until it has closed all that was told. */
async function tellFleet({ store }: ReducerService, { path }: { path: string }): Promise<void> {
  const clock = startClock();
  const { code, err } = await run(...paths, '--reducer', `unix:${path}`);
  assert.equal(code, 0, err);
  assert.match(err, /recordings told to unix:/);
  const toldAtMs = clock().ms;
  const told = async (): Promise<typeof truth> => sumsOf([await readEdges(store, 'role_role', 1_000)]);
  let sums = await told();
  while (sums.reverseBytes < truth.reverseBytes) {
    assert.ok(clock().ms - toldAtMs < PATIENCE_MS, `${JSON.stringify(sums)} of ${JSON.stringify(truth)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    sums = await told();
  }
  assert.deepEqual(sums, truth);
}

test('a running reducer is told the same, at once, as if it had just happened', {
  timeout: 240_000,
}, async (context) => {
  const { service, address, failures } = await startService(context, 'alike', {});
  await tellFleet(service, address);
  assert.deepEqual(failures, []);
});

test('of a fleet with more edges than the budget every level adds up to the truth, with (other), in the API and for a Prometheus', {
  timeout: 240_000,
}, async (context) => {
  const levels = Object.keys(LEVEL_NAMES) as LevelName[];
  const seriesBudget = 5;
  const { service, address, metrics, failures } = await startService(context, 'over', { levels, seriesBudget });
  freeWhatIsPushed(service.store);
  await tellFleet(service, address);
  for (const level of levels) {
    const answer = await readEdges(service.store, level, 1_000);
    assert.deepEqual(sumsOf([answer]), truth, level);
    for await (const { rows } of service.store.readEach(LEVEL_NAMES[level], 1_000)) {
      const named = [...rows.values()].filter(({ client }) => client.kind !== NodeKind.Other);
      assert(named.length <= seriesBudget, `${named.length} rows of ${level}`);
      assert(rows.size - named.length <= 1, level);
    }
  }
  const { edges: id } = await readEdges(service.store, 'id_id', 1_000);
  assert(id.some(({ client, server }) => client.role === '(other)' && server.role === '(other)'));
  await assertScraped(metrics, levels);
  assert.deepEqual(failures, []);
});

test('a reducer that stops waits for the window that is being packed', async (context) => {
  const { service, failures } = await startService(context, 'stops', { windowNs: 500_000_000n });
  const { pack } = KeptWindow.prototype;
  context.mock.method(KeptWindow.prototype, 'pack', async function (this: KeptWindow) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return pack.call(this);
  });
  const push = service.store.push.bind(service.store);
  const closed = Promise.withResolvers<void>();
  let isGiven = false;
  service.store.push = (window, give) => {
    closed.resolve();
    return push(window, (outputs) => {
      isGiven = true;
      give?.(outputs);
    });
  };
  await closed.promise;
  await service.stop();
  assert.equal(isGiven, true);
  assert.deepEqual(failures, []);
});

/** As if a window were packed at once: what else reads its outputs has to be done with them. */
function freeWhatIsPushed(store: WindowStore): void {
  const push = store.push.bind(store);
  store.push = (closed, give) => {
    const given = push({ ...closed, outputs: closed.outputs.map((output) => Uint8Array.from(output)) }, give);
    for (const output of closed.outputs) giveReturned(output);
    return given;
  };
}

/** The bytes of each level, and that rows were added to (other); counters come a second later. */
async function assertScraped(metrics: string, levels: readonly LevelName[]): Promise<void> {
  const deadlineMs = performance.now() + PATIENCE_MS;
  let text = '';
  const sum = (pattern: RegExp): number =>
    text
      .split('\n')
      .filter((line) => pattern.test(line))
      .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
  const bytes = truth.forwardBytes + truth.reverseBytes;
  const overflow = /^tributary_series_overflow_total\{.*tributary_stage="budget"/;
  const isWhole = (): boolean =>
    sum(overflow) > 0 &&
    levels.every((level) => sum(new RegExp(`^tributary_flow_io_bytes_total\\{.*tributary_level="${level}"`)) === bytes);
  while (!isWhole()) {
    assert(performance.now() < deadlineMs, `${bytes} bytes, and rows in (other):\n${text}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    text = await (await fetch(metrics)).text();
  }
}
