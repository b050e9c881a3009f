// `tributary edges` as a process, against a real API: what it prints and how it ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { ApiServer } from '../api/api-server.ts';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { EDGE_PARAMETERS } from '../api/edge-query.ts';
import { WindowStore } from '../api/window-store.ts';
import { encodeWindowOutput } from '../export/testing/window-output.ts';
import { Level } from '../wire/gen/records-layout.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
const SILENT = pino({ level: 'silent' });
const NO_AGENTS = { windowNs: 1e9, agents: [] };
const PIPELINE = {
  ...{ agents: 1, framesAccepted: 1, framesRefused: 0, socketsLive: 1, socketsRefused: 0 },
  ...{ lost: 0, lateWindows: 0, exportQueue: 0, refused: {} },
};

interface Reducer {
  api: string;
  close: (window: number, bytes: bigint) => void;
}

async function startReducer(context: TestContext): Promise<Reducer> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-edges-'));
  const path = join(folder, 'api.sock');
  const store = new WindowStore();
  const dependencies = {
    store,
    notReady: () => undefined,
    pipeline: () => PIPELINE,
    agents: () => NO_AGENTS,
    listeners: () => ({ listeners: [], omitted: 0 }),
    log: SILENT,
  };
  const server = new ApiServer({ address: { path }, insecure: false }, dependencies);
  await server.start();
  context.after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });
  const nodes = [
    { role: 'curl', id: 'h/curl' },
    { role: 'nginx', id: 'h/nginx' },
    { role: 'dig', id: 'h/dig' },
  ];
  const close = (window: number, bytes: bigint): void => {
    const points = [
      { level: Level.IdId, clientNode: 0, forwardBytes: bytes, connections: 1n, flowsBoth: 1 },
      { level: Level.IdId, clientNode: 2, forwardBytes: 1n, connections: 5n, flowsBoth: 1 },
    ];
    store.push({ window, windowNs: 1e9, incarnation: 1n, outputs: [encodeWindowOutput(window, nodes, points)] });
  };
  return { api: `unix:${path}`, close };
}

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

async function edges(...flags: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, 'edges', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended: Ended = { code: null, out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ended.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.err += text;
  });
  await once(child, 'close');
  return { ...ended, code: child.exitCode };
}

test('edges prints a table, sorted as asked, and ends with 0', async (context) => {
  const { api, close } = await startReducer(context);
  close(4, 2_000n);
  const byRate = await edges('--api', api);
  assert.equal(byRate.code, 0, byRate.err);
  assert.match(byRate.out, /^CLIENT .*\nh\/curl +h\/nginx:443 +2 kB\/s .*\nh\/dig /);
  assert.match((await edges('--api', api, '--by', 'new')).out, /^CLIENT .*\nh\/dig .*\nh\/curl /);
});

test('--json prints what the API answers, over as many windows as asked', async (context) => {
  const { api, close } = await startReducer(context);
  close(4, 2_000n);
  close(5, 3_000n);
  const { code, out } = await edges('--api', api, '--json', '--windows', '2', '--level', 'id-id');
  assert.equal(code, 0);
  const answer = JSON.parse(out) as EdgesAnswer;
  assert.deepEqual([answer.firstWindow, answer.lastWindow], [4, 5]);
  assert.equal(answer.edges[0].bytes.forward, 5_000);
});

test('it ends with 1 when nothing is found, and standard output stays empty', async (context) => {
  const { api, close } = await startReducer(context);
  assert.deepEqual(await edges('--api', api), { code: 1, out: '', err: 'no window has closed yet\n' });
  close(4, 1n);
  const { code, out, err } = await edges('--api', api, '--level', 'role_role');
  assert.deepEqual([code, out], [1, '']);
  assert.match(err, /no such edge moved/);
  const json = await edges('--api', api, '--json', 'absent');
  assert.deepEqual([json.code, (JSON.parse(json.out) as EdgesAnswer).edges], [1, []]);
  const csv = await edges('--api', api, '--csv', 'absent');
  assert.deepEqual([csv.code, csv.out.match(/\r\n/g)?.length], [1, 1]);
});

test('filters leave what meets them all; the values of one are alternatives', async (context) => {
  const { api, close } = await startReducer(context);
  close(4, 2_000n);
  const cases: [string[], string[]][] = [
    [[], ['h/curl', 'h/dig']],
    [['curl'], ['h/curl']],
    [
      ['curl', 'dig'],
      ['h/curl', 'h/dig'],
    ],
    [['--from', 'h/', '--min-rate', '1kB'], ['h/curl']],
    [['--from', '=dig'], ['h/dig']],
    [
      ['--from', 'dig', '--from', 'curl', '--to', 'nginx', '--port', '443'],
      ['h/curl', 'h/dig'],
    ],
    [['--limit', '1', '--by', 'new'], ['h/dig']],
    [['--protocol', 'udp'], []],
    [['--failed'], []],
  ];
  await Promise.all(
    cases.map(async ([flags, expected]) => {
      const { code, out, err } = await edges('--api', api, '--json', ...flags);
      const found = (JSON.parse(out) as EdgesAnswer).edges.map(({ client }) => client.id);
      assert.deepEqual([found, code], [expected, expected.length > 0 ? 0 : 1], `${flags}: ${err}`);
    }),
  );
});

test('--csv prints a head and one record for each edge, highest first', async (context) => {
  const { api, close } = await startReducer(context);
  close(4, 2_000n);
  const { code, out } = await edges('--api', api, '--csv');
  const [head, ...records] = out.split('\r\n').map((line) => line.split(','));
  assert.deepEqual([code, records.length, records[2]], [0, 3, ['']]);
  assert.deepEqual(
    records.slice(0, 2).map((record) => record[head.indexOf('client_id')]),
    ['h/curl', 'h/dig'],
  );
  assert.equal(records[0][head.indexOf('bytes_forward')], '2000');
});

test('wrong usage ends with 2 and a reducer that does not answer with 3; both say what to do', async (context) => {
  const { api } = await startReducer(context);
  const cases: [string[], number, RegExp][] = [
    [['--level', 'pod'], 2, /--level: "pod" is not one of id_id.*TRB_CONFIG/],
    [['--windows', '0'], 2, /--windows 0: is a whole number from 1 to 1024.*TRB_QUERY/],
    [['--windows', '9999'], 2, /--windows 9999: is a whole number from 1 to 1024/],
    [['--by', 'name'], 2, /--by: "name" is not one of rate, bytes/],
    [['--port', '80', '--port', 'http'], 2, /--port 80 http: "http" is not a port/],
    [['--min-rate', 'fast'], 2, /--min-rate fast: "fast" is not a rate/],
    [['--level', 'az_az', '--process', 'x'], 2, /--process x: is not kept at az_az: ask at id_id/],
    [[''], 2, /PATTERN : is empty/],
    [['--json', '--csv'], 2, /cannot be used with/],
    [['--api', 'nowhere'], 2, /--api: "nowhere" is not an address.*TRB_CONFIG/],
    [['--colour'], 2, /^tributary: unknown option '--colour' \(TRB_USAGE\)/],
    [['--api', `${api}.absent`], 3, /no reducer answers at unix:.*tributary up/],
  ];
  await Promise.all(
    cases.map(async ([flags, code, message]) => {
      const ended = await edges('--api', api, ...flags);
      assert.equal(ended.code, code, `${flags}: ${ended.err}`);
      assert.match(ended.err, message);
      assert.equal(ended.out, '');
    }),
  );
  const help = await edges('--help');
  assert.equal(help.code, 0);
  for (const parameter of EDGE_PARAMETERS.filter((name) => name !== 'until' && name !== 'match'))
    assert.ok(help.out.includes(`--${parameter.replace('_', '-')}`), parameter);
  assert.match(help.out, /Exit codes: 0 edges were found, 1 none was, 2 wrong usage, 3/);
});

test('--watch --json prints each window once, also those that close together', async (context) => {
  const { api, close } = await startReducer(context);
  close(4, 1n);
  const child = spawn(process.execPath, [MAIN, 'edges', '--api', api, '--watch', '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  context.after(() => child.kill('SIGKILL'));
  const windows: (number | null)[] = [];
  for await (const line of createInterface(child.stdout)) {
    windows.push((JSON.parse(line) as EdgesAnswer).lastWindow);
    if (windows.length === 1) for (const window of [5, 6, 7]) close(window, 1n);
    if (windows.length === 4) break;
  }
  assert.deepEqual(windows, [4, 5, 6, 7]);
});

test('--watch prints each window once, until a signal ends it with 0', async (context) => {
  const { api, close } = await startReducer(context);
  close(4, 2_000n);
  const child = spawn(process.execPath, [MAIN, 'edges', '--api', api, '--watch'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  context.after(() => child.kill('SIGKILL'));
  let out = '';
  let isSecondClosed = false;
  child.stdout.setEncoding('utf8');
  for await (const text of child.stdout) {
    out += text;
    if (/curl[^\n]*3 kB\/s/.test(out)) break;
    if (/dig/.test(out) && !isSecondClosed) {
      isSecondClosed = true;
      close(5, 3_000n);
    }
  }
  child.kill('SIGTERM');
  await once(child, 'exit');
  assert.equal(child.exitCode, 0);
  assert.equal(out.match(/h\/curl -> h\/nginx:443 tcp sent 2 kB\/s/g)?.length, 1);
});

test('a reader that has read enough ends it quietly', async (context) => {
  const { api, close } = await startReducer(context);
  close(4, 2_000n);
  const command = `"${process.execPath}" "${MAIN}" edges --api ${api} --watch --json; echo "code $?" >&2`;
  const shell = spawn('sh', ['-c', `{ ${command}; } | head -n 1`], { stdio: ['ignore', 'pipe', 'pipe'] });
  context.after(() => shell.kill('SIGKILL'));
  let err = '';
  shell.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  await once(shell.stdout, 'data');
  for (let window = 5; !err.includes('code'); window++) {
    close(window, 1n);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(err, 'code 0\n');
});
