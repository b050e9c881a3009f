// `tributary reducer` as a process: how it starts and how it ends.
import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startClock } from '../lib/clock.ts';
import { ScriptedAgent } from '../reducer/testing/scripted-agent.ts';
import { announce } from '../reducer/testing/told.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
const WINDOW_NS = 1_000_000_000n;

interface Line {
  level: number;
  msg: string;
}

const FATAL = 60;

class Process {
  readonly folder: string;
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  readonly #heard: (() => void)[] = [];
  #rest = '';

  constructor(context: TestContext, flags: string[] = [], nodeFlags: string[] = []) {
    this.folder = mkdtempSync(join(tmpdir(), 'tributary-cmd-'));
    const addresses = ['--listen', `unix:${join(this.folder, 'agents')}`, '--api', `unix:${join(this.folder, 'api')}`];
    const args = [
      ...nodeFlags,
      MAIN,
      'reducer',
      ...addresses,
      '--workers',
      '2',
      '--window',
      '1s',
      '--lateness',
      '200ms',
      ...flags,
    ];
    this.child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    context.after(() => {
      this.child.kill('SIGKILL');
      rmSync(this.folder, { recursive: true });
    });
  }

  get agents(): { path: string } {
    return { path: join(this.folder, 'agents') };
  }

  /** Resolves with the first line that matches. */
  async line(pattern: RegExp): Promise<Line> {
    for (;;) {
      const line = this.lines.find(({ msg }) => pattern.test(msg));
      if (line !== undefined) return line;
      assert.equal(this.child.exitCode, null, `ended before ${pattern}: ${JSON.stringify(this.lines)}`);
      await new Promise<void>((resolve) => this.#heard.push(resolve));
    }
  }

  async exitCode(): Promise<number | null> {
    if (this.child.exitCode === null) await once(this.child, 'exit');
    return this.child.exitCode;
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.lines.push(line.startsWith('{') ? JSON.parse(line) : { level: 0, msg: line });
    for (const resolve of this.#heard.splice(0)) resolve();
  }
}

function startAgent(context: TestContext, address: { path: string }): ScriptedAgent {
  const snapshot = announce('curl', '10.0.0.1');
  const clock = startClock();
  const agent = new ScriptedAgent({
    address,
    clock,
    name: 'a',
    session: 5n,
    windowNs: WINDOW_NS,
    snapshot,
    script: [],
  });
  agent.start();
  context.after(() => agent.stop());
  return agent;
}

test('a reducer that is asked to stop says goodbye to its agents and ends with 0', {
  timeout: 240_000,
}, async (context) => {
  const reducer = new Process(context);
  await reducer.line(/listening on unix:/);
  const agent = startAgent(context, reducer.agents);
  await reducer.line(/agent joined/);
  await reducer.line(/committed window=/);
  reducer.child.kill('SIGTERM');
  assert.equal(await reducer.exitCode(), 0);
  assert.deepEqual(agent.losses.slice(0, 1), ['goodbye']);
  assert.equal(agent.goodbyes[0], 'ReducerStopping');
});

/** Puts a WebAssembly function that consists of `unreachable` in the place of session_open. */
const TRAP = `
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 116, 0, 0, 10, 5, 1, 3, 0, 0, 11];
  const { Instance, Module } = WebAssembly;
  const { t: session_open } = new Instance(new Module(Uint8Array.from(bytes))).exports;
  WebAssembly.Instance = class {
    constructor(module, imports) {
      this.exports = { ...new Instance(module, imports).exports, session_open };
    }
  };
`;

test('a trap in a stage ends the process with 70 and one line', { timeout: 240_000 }, async (context) => {
  const preload = `data:text/javascript,${encodeURIComponent(TRAP)}`;
  const reducer = new Process(context, [], ['--import', preload]);
  await reducer.line(/listening on unix:/);
  startAgent(context, reducer.agents);
  assert.equal(await reducer.exitCode(), 70);
  const fatal = reducer.lines.filter(({ level }) => level === FATAL);
  assert.deepEqual(
    fatal.map(({ msg }) => msg),
    ['a worker failed'],
  );
});

test('what cannot start says why and leaves no socket behind', { timeout: 240_000 }, async (context) => {
  const cases: [string[], RegExp][] = [
    [['--listen', '0.0.0.0:0'], /--insecure.*TRB_INSECURE/],
    [['--prometheus-listen', '0.0.0.0:0'], /--insecure.*TRB_INSECURE/],
    [['--api', '0.0.0.0:0'], /--insecure.*TRB_INSECURE/],
    [['--window', '0s'], /--window: "0s".*1s to 5m/],
    [['--workers', 'many'], /--workers: "many" is not a whole number from 1 to 64/],
    [['--level', 'az'], /--level: "az" is not one of id_id/],
  ];
  for (const [flags, message] of cases) {
    const reducer = new Process(context, flags);
    await reducer.line(message);
    assert.equal(await reducer.exitCode(), 2);
    assert.deepEqual(readdirSync(reducer.folder), []);
  }
});
