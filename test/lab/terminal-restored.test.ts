// However the live view ends, the terminal is as it was, and what there was to say can be read on it.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { ApiServer } from '../../host/api/api-server.ts';
import { WindowStore } from '../../host/api/window-store.ts';
import { encodeWindowOutput } from '../../host/export/testing/window-output.ts';
import { Terminal } from './terminal.ts';

const MAIN = fileURLToPath(new URL('../../host/cmd/main.ts', import.meta.url));
const SILENT = pino({ level: 'silent' });
const NO_AGENTS = { windowNs: 1e9, agents: [] };
const PIPELINE = {
  ...{ agents: 1, framesAccepted: 1, framesRefused: 0, socketsLive: 1, socketsRefused: 0 },
  ...{ lost: 0, lateWindows: 0, exportQueue: 0, refused: {} },
};

const directory = mkdtempSync(join(tmpdir(), 'tributary-restored-'));
const path = join(directory, 'api.sock');
const store = new WindowStore();
let server: ApiServer;

async function startServer(): Promise<ApiServer> {
  const dependencies = {
    store,
    notReady: () => undefined,
    pipeline: () => PIPELINE,
    agents: () => NO_AGENTS,
    listeners: () => ({ listeners: [], omitted: 0 }),
    log: SILENT,
  };
  const started = new ApiServer({ address: { path }, insecure: false }, dependencies);
  await started.start();
  return started;
}

function closeWindow(window: number): void {
  const nodes = [
    { id: 'h/curl', role: 'curl' },
    { id: 'h/nginx', role: 'nginx' },
  ];
  const outputs = [encodeWindowOutput(window, nodes, [{ forwardBytes: 5_000n, refused: 2, flowsBoth: 1 }])];
  store.push({ window, windowNs: 1e9, incarnation: 1n, outputs });
}

before(async () => {
  server = await startServer();
  closeWindow(7);
});
after(async () => {
  await server.stop();
  rmSync(directory, { recursive: true });
});

interface Watch {
  terminal: Terminal;
  /** Of the line, before the view had the terminal. */
  settings: string;
  pid: number;
}

async function startWatch(t: TestContext, environment: Record<string, string> = {}): Promise<Watch> {
  const terminal = new Terminal();
  t.after(() => terminal.stop());
  await terminal.start({ columns: 100, rows: 30 }, environment);
  const { settings } = await terminal.state();
  const pidFile = join(directory, `${t.name.length}.pid`);
  await terminal.run(
    `sh -c 'echo $$ >${pidFile}; exec "$0" "$@"' '${process.execPath}' '${MAIN}' edges --watch --api unix:${path}`,
  );
  await terminal.until('the view', (lines) => (/1 edges at id_id/.test(lines[0]) ? true : undefined), 30_000);
  assert.deepEqual([(await terminal.state()).alternate, (await terminal.state()).cursor], [true, false]);
  return { terminal, settings, pid: Number(readFileSync(pidFile, 'utf8')) };
}

/** Loaded into the program: throws on SIGUSR2, as a fault of its own would. */
const FAULT = join(directory, 'fault.mjs');
writeFileSync(FAULT, `process.on('SIGUSR2', () => { throw new Error('boom'); });`);

const ENDS: [string, (watch: Watch) => unknown, RegExp][] = [
  ['q', ({ terminal }) => terminal.press('q'), /^ended with 0$/m],
  ['Ctrl-C', ({ terminal }) => terminal.press('C-c'), /^ended with 0$/m],
  ['Ctrl-C while the filter is typed', ({ terminal }) => terminal.press('/', 'C-c'), /^ended with 0$/m],
  ['SIGTERM', ({ pid }) => process.kill(pid, 'SIGTERM'), /^ended with 0$/m],
  ['SIGINT from elsewhere', ({ pid }) => process.kill(pid, 'SIGINT'), /^ended with 0$/m],
  ['SIGHUP', ({ pid }) => process.kill(pid, 'SIGHUP'), /^ended with 129$/m],
  ['a crash', ({ pid }) => process.kill(pid, 'SIGUSR2'), /Error: boom[\s\S]*^ended with 1$/m],
];

for (const [name, end, said] of ENDS)
  test(`the terminal is as it was after ${name}`, { timeout: 120_000 }, async (t) => {
    const watch = await startWatch(t, { NODE_OPTIONS: `--import=${FAULT}` });
    await end(watch);
    const lines = await watch.terminal.untilMatch(said);
    assert.doesNotMatch(lines.join('\n'), /edges at id_id/, 'nothing of the view stays');
    const { alternate, cursor, settings } = await watch.terminal.state();
    assert.deepEqual([alternate, cursor, settings], [false, true, watch.settings]);
  });

/** Select Graphic Rendition with a colour (ECMA-48, section 8.3.117). */
const COLOUR = /\[[\d;]*\b(?:3[0-8]|9[0-7])[\d;]*m/;

test('failures are red, unless NO_COLOR is set', { timeout: 120_000 }, async (t) => {
  for (const [environment, isColoured] of [
    [{}, true],
    [{ NO_COLOR: '1' }, false],
  ] as const) {
    const { terminal } = await startWatch(t, environment);
    assert.equal(COLOUR.test(await terminal.styledScreen()), isColoured);
    await terminal.stop();
  }
});

test('a reducer that goes away is said, and the view goes on when it is back', { timeout: 120_000 }, async (t) => {
  const { terminal } = await startWatch(t);
  await server.stop();
  await terminal.untilMatch(/no reducer answers at unix:/);
  server = await startServer();
  closeWindow(8);
  await terminal.until('the pipeline again', (lines) => (/1 agent/.test(lines.at(-2) ?? '') ? true : undefined));
  await terminal.press('q');
  await terminal.untilMatch(/^ended with 0$/m);
});
