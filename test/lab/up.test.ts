// What a newcomer does: `tributary up`, then any program makes a connection, and it is on the screen.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Terminal } from './terminal.ts';
import { waitFor } from './wait.ts';

const MAIN = fileURLToPath(new URL('../../host/cmd/main.ts', import.meta.url));
const run = promisify(execFile);

interface Up {
  child: ChildProcess;
  output: () => string;
}

function startUp(api: string, ...more: string[]): Up {
  const child = spawn(process.execPath, [MAIN, 'up', '--api', api, ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  return { child, output: () => output };
}

test('up shows a connection of another program, serves it to `edges`, and ends cleanly', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tributary-up-test-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const server = createServer((_request, response) => response.end('x'.repeat(5_000))).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const api = `unix:${join(directory, 'api.sock')}`;
  const up = startUp(api);
  t.after(() => up.child.kill('SIGKILL'));
  await waitFor(
    () => (up.output().includes('1 agent') || up.output().includes('->') ? true : undefined),
    'the first screen',
    {
      detail: up.output,
    },
  );
  const madeMs = performance.now();
  await run('curl', ['-sS', '-o', '/dev/null', `http://127.0.0.1:${port}/`]);
  const line = await waitFor(
    () => up.output().match(new RegExp(`/curl -> \\S+:${port} tcp .*`)) ?? undefined,
    `a line about port ${port}`,
    { detail: up.output },
  );
  t.diagnostic(`on the screen after ${((performance.now() - madeMs) / 1000).toFixed(1)} s`);
  assert.match(line[0], /new 1 seen both/);

  const edges = await run(process.execPath, [
    MAIN,
    'edges',
    '--api',
    api,
    '--windows',
    '1000',
    '--level',
    'id-id',
    '--json',
  ]);
  const { edges: rows } = JSON.parse(edges.stdout) as { edges: { serverPort: number; connections: number }[] };
  assert.equal(
    rows.filter((edge) => edge.serverPort === port).reduce((sum, edge) => sum + edge.connections, 0),
    1,
  );

  const exited = once(up.child, 'exit');
  up.child.kill('SIGTERM');
  const [code] = await exited;
  assert.equal(code, 0, up.output());
});

test('up whose terminal is closed leaves nothing behind', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tributary-up-test-'));
  const terminal = new Terminal();
  t.after(async () => {
    await terminal.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  await terminal.start({ columns: 80, rows: 24 });
  await terminal.run(`TMPDIR='${directory}' '${process.execPath}' '${MAIN}' up --api 'unix:${directory}/api.sock'`);
  await terminal.untilMatch(/edges at id_id by rate/);
  assert.equal(readdirSync(directory).length, 2);
  await terminal.stop();
  await waitFor(() => (readdirSync(directory).length === 0 ? true : undefined), 'nothing to be left');
});

test('up without a terminal reads its configuration again on SIGHUP', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tributary-up-test-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const config = join(directory, 'tributary.yaml');
  writeFileSync(config, 'log:\n  level: error\n');
  const up = startUp(`unix:${join(directory, 'api.sock')}`, '--config', config);
  t.after(() => up.child.kill('SIGKILL'));
  await waitFor(() => /1 agent|->/.test(up.output()) || undefined, 'the first screen', { detail: up.output });
  writeFileSync(config, 'log:\n  level: debug\nup:\n  window: 5s\n');
  up.child.kill('SIGHUP');
  await waitFor(() => up.output().match(/log.level is now .*debug.*, was .*error/) ?? undefined, 'the new level', {
    detail: up.output,
  });
  await waitFor(() => up.output().match(/up.window stays .* takes effect with a restart/) ?? undefined, 'what stays', {
    detail: up.output,
  });
  const exited = once(up.child, 'exit');
  up.child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null], up.output());
});

test('edges names the fix when no reducer answers', async () => {
  const failure = await run(process.execPath, [MAIN, 'edges', '--api', 'unix:/nonexistent/api.sock']).then(
    () => assert.fail('it must not succeed'),
    (error: { code: number; stderr: string }) => error,
  );
  assert.equal(failure.code, 3);
  assert.match(failure.stderr, /no reducer answers at unix:\/nonexistent\/api\.sock: start one with `tributary up`/);
  assert.doesNotMatch(failure.stderr, /at .*\.ts:\d+/, 'no stack trace');
});
