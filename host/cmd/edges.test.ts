// `tributary edges` as a process, against a real API: what it prints and how it ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ApiServer } from '../api/api-server.ts';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { WindowStore } from '../api/window-store.ts';
import { encodeWindowOutput } from '../export/testing/window-output.ts';
import { Level } from '../wire/gen/records-layout.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
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
  const dependencies = { store, notReady: () => undefined, pipeline: () => PIPELINE };
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

test('before the first window, and when nothing moved, standard output stays empty', async (context) => {
  const { api, close } = await startReducer(context);
  assert.deepEqual(await edges('--api', api), { code: 0, out: '', err: 'no window has closed yet\n' });
  close(4, 1n);
  const { code, out, err } = await edges('--api', api, '--level', 'role_role');
  assert.deepEqual([code, out], [0, '']);
  assert.match(err, /nothing moved/);
});

test('wrong usage ends with 2 and a reducer that does not answer with 1; both say what to do', async (context) => {
  const { api } = await startReducer(context);
  const cases: [string[], number, RegExp][] = [
    [['--level', 'pod'], 2, /--level pod: use one of id_id.*TRB_LEVEL/],
    [['--windows', '0'], 2, /--windows 0: use a whole number.*TRB_WINDOWS/],
    [['--by', 'name'], 2, /Allowed choices are rate, bytes/],
    [['--api', 'nowhere'], 2, /"nowhere" is not an address.*TRB_ADDRESS/],
    [['--colour'], 2, /unknown option '--colour'/],
    [['--windows', '9999'], 1, /from 1 to 1024/],
    [['--api', `${api}.absent`], 1, /no reducer answers at unix:.*tributary up/],
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
  for (const flag of ['--api', '--level', '--by', '--windows', '--json', '--watch']) assert.ok(help.out.includes(flag));
});

test('--watch prints each window once, until a signal ends it with 0', async (context) => {
  const { api, close } = await startReducer(context);
  close(4, 2_000n);
  const child = spawn(process.execPath, [MAIN, 'edges', '--api', api, '--watch'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  context.after(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.setEncoding('utf8');
  for await (const text of child.stdout) {
    out += text;
    if (/curl[^\n]*3 kB\/s/.test(out)) break;
    if (/dig/.test(out)) close(5, 3_000n);
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
