// How the roles end and what they tell on the way, as processes: whoever is on the other side may be silent, hang or not exist.
import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startClock } from '../lib/clock.ts';
import { ScriptedAgent } from '../reducer/testing/scripted-agent.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
/** The promise is five seconds; a busy machine may be late, a process that waits for its peer would not end at all. */
const END_MS_MAX = 20_000;
const asRoot = { skip: process.getuid?.() === 0 ? undefined : 'the agent loads eBPF programs, which needs root' };

interface Line {
  msg: string;
  [field: string]: unknown;
}

class Role {
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  #heard: (() => void)[] = [];
  #rest = '';
  readonly #ended: Promise<unknown[]>;

  constructor(context: TestContext, args: string[], environment: Record<string, string> = {}) {
    const env = { ...process.env, ...environment };
    this.child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'ignore', 'pipe'], env });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.#ended = once(this.child, 'exit');
    this.child.once('exit', () => this.#read(''));
    context.after(() => void this.child.kill('SIGKILL'));
  }

  async line(pattern: RegExp): Promise<Line> {
    for (;;) {
      const line = this.lines.find(({ msg }) => pattern.test(msg));
      if (line !== undefined) return line;
      const { exitCode, signalCode } = this.child;
      assert.equal(exitCode ?? signalCode, null, `ended before ${pattern}: ${JSON.stringify(this.lines)}`);
      await new Promise<void>((resolve) => this.#heard.push(resolve));
    }
  }

  /** Its exit code, or the signal that ended it. */
  async end(): Promise<unknown> {
    const late = setTimeout(() => this.child.kill('SIGKILL'), END_MS_MAX);
    const [code, signal] = await this.#ended;
    clearTimeout(late);
    return code ?? signal;
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.lines.push(line.startsWith('{') ? JSON.parse(line) : { msg: line });
    for (const resolve of this.#heard.splice(0)) resolve();
  }
}

function makeFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-signals-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A listener that reads and never says a word. */
async function startSilent(context: TestContext): Promise<{ port: number; connected: Promise<void> }> {
  const sockets = new Set<Socket>();
  const { promise: connected, resolve } = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    socket.resume().once('data', () => resolve());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  return { port: address.port, connected };
}

/** The agent's own namespace is the test's: nothing else is looked at, and a running agent of this host is not disturbed. */
function startAgent(context: TestContext, reducer: string, environment: Record<string, string> = {}): Role {
  return new Role(context, ['agent', '--scope', 'netns=/proc/self/ns/net', '--reducer', reducer], environment);
}

function startReducer(context: TestContext, environment: Record<string, string> = {}): { role: Role; path: string } {
  const folder = makeFolder(context);
  const path = join(folder, 'agents');
  const args = ['reducer', '--listen', `unix:${path}`, '--api', `unix:${join(folder, 'api')}`, '--workers', '1'];
  return { role: new Role(context, [...args, '--window', '1s', '--lateness', '200ms'], environment), path };
}

test('an agent whose reducer does not answer ends and says what it gave up', asRoot, async (context) => {
  const { port, connected } = await startSilent(context);
  const agent = startAgent(context, `127.0.0.1:${port}`);
  await agent.line(/^looking$/);
  await connected;
  agent.child.kill('SIGTERM');
  assert.equal(await agent.end(), 0);
  await agent.line(/without a reducer: what it was not told is given up/);
});

test(
  'an agent that finds no reducer ends, tells its state and the machine that it looks at',
  asRoot,
  async (context) => {
    const agent = startAgent(context, `unix:${join(makeFolder(context), 'nobody')}`);
    const { machine, hooks } = await agent.line(/of \d+ hooks$/);
    assert.equal((machine as { architecture: string }).architecture, process.arch);
    assert.equal((hooks as { tcp_state: string }).tcp_state, 'tp_btf/inet_sock_set_state');
    agent.child.kill('SIGUSR1');
    const state = await agent.line(/^state$/);
    assert.equal((state.reducer as { connected: boolean }).connected, false);
    assert.ok((state.memory as { residentBytes: number }).residentBytes > 1e6);
    agent.child.kill('SIGINT');
    assert.equal(await agent.end(), 0);
  },
);

test('a second signal ends the process at once, with the exit code of a shell', asRoot, async (context) => {
  const { port, connected } = await startSilent(context);
  const agent = startAgent(context, `127.0.0.1:${port}`);
  await agent.line(/^looking$/);
  await connected;
  agent.child.kill('SIGTERM');
  // While it waits for its reducer; if it has ended by then, the exit code tells.
  setTimeout(() => agent.child.kill('SIGINT'), 200);
  assert.equal(await agent.end(), 128 + constants.signals.SIGINT);
});

test('a reducer whose exporter hangs ends and says which windows nobody confirmed', async (context) => {
  const { port, connected } = await startSilent(context);
  const { role } = startReducer(context, { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
  await connected;
  role.child.kill('SIGTERM');
  assert.equal(await role.end(), 0);
  await role.line(/windows that no exporter has confirmed/);
});

test('SIGUSR1 tells the state of a reducer, whatever its log level, and disturbs nobody', async (context) => {
  const windowNs = 1_000_000_000n;
  const clock = startClock();
  const currentWindow = (): number => Number(clock().unixNs / windowNs);
  const firstWindow = currentWindow();
  const { role, path } = startReducer(context, { TRIBUTARY_LOG_LEVEL: 'error' });
  const agent = new ScriptedAgent({
    ...{ address: { path }, clock, name: 'a', session: 5n },
    ...{ windowNs, snapshot: [], script: [] },
  });
  agent.start();
  context.after(() => agent.stop());
  while (agent.committedWindow === 0) await sleep(20);
  role.child.kill('SIGUSR1');
  const { pipeline, windows } = await role.line(/^state$/);
  // Not the number that the agent knows: windows that ended while the reducer waited for its agents close one by one, with what was told by then.
  const { newest, complete, late } = windows as { newest: number; complete: number; late: number };
  assert.ok(complete + late > 0 && newest < currentWindow(), JSON.stringify(windows));
  assert.ok(newest - (complete + late) >= firstWindow - 1, JSON.stringify(windows));
  assert.equal((pipeline as { framesRefused: number }).framesRefused, 0);
  const before = agent.committedWindow;
  while (agent.committedWindow === before) await sleep(20);
  assert.deepEqual(
    agent.losses.filter((loss) => loss !== 'closed'),
    [],
  );
  role.child.kill('SIGTERM');
  assert.equal(await role.end(), 0);
});

/** Node's hook is told when a file of host/cmd is read; that of the role is after the first line of main.ts, before the role can listen. */
function signalsAtLoad(file: string): Record<string, string> {
  const hook = `
import { registerHooks } from 'node:module';
registerHooks({
  load(url, context, next) {
    if (url.endsWith('/cmd/${file}')) for (const name of ['SIGUSR1', 'SIGHUP']) process.kill(process.pid, name);
    return next(url, context);
  },
});`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` };
}

test('signals that come while a role is loaded end nothing and open no debugger', async (context) => {
  const { role } = startReducer(context, signalsAtLoad('reducer.ts'));
  await role.line(/^listening on/);
  role.child.kill('SIGTERM');
  assert.equal(await role.end(), 0);
  assert.deepEqual(
    role.lines.filter(({ msg }) => /debugger/i.test(msg)),
    [],
  );
});

test('an agent reads its configuration again that may have changed while it was read', asRoot, async (context) => {
  const nobody = `unix:${join(makeFolder(context), 'nobody')}`;
  for (const file of ['agent.ts', 'create-agent.ts']) {
    const agent = startAgent(context, nobody, signalsAtLoad(file));
    await agent.line(/^looking$/);
    // The first of them before anything was read.
    if (file === 'create-agent.ts') await agent.line(/^configuration read again: no option has changed$/);
    agent.child.kill('SIGTERM');
    assert.equal(await agent.end(), 0);
    assert.deepEqual(
      agent.lines.filter(({ msg }) => /debugger/i.test(msg)),
      [],
    );
  }
});

test('agents that are refused again and again write a few lines, in which every refusal is counted', async (context) => {
  const { role, path } = startReducer(context);
  const windowNs = 1_000_000_000n;
  const start = (session: bigint): ScriptedAgent => {
    const agent = new ScriptedAgent({
      ...{ address: { path }, clock: startClock(), name: 'a', session },
      ...{ windowNs, snapshot: [], script: [] },
    });
    agent.start();
    context.after(() => agent.stop());
    return agent;
  };
  const first = start(5n);
  while (first.committedWindow === 0) await sleep(20);
  // The same host again, and the one that looks is alive.
  const others = Array.from({ length: 50 }, (_, index) => start(BigInt(index + 6)));
  const refusals = (): number => others.reduce((sum, { goodbyes }) => sum + goodbyes.length, 0);
  while (refusals() < 200) await sleep(20);
  await Promise.all(others.map((agent) => agent.stop()));
  role.child.kill('SIGTERM');
  assert.equal(await role.end(), 0);
  const lines = role.lines.filter(({ msg }) => /^agent a refused/.test(msg));
  const told = lines.reduce((sum, { repeated = 1 }) => sum + Number(repeated), 0);
  assert.ok(told >= refusals(), `${told} told, ${refusals()} heard`);
  assert.ok(lines.length < told / 5, `${lines.length} lines for ${told} refusals`);
});
