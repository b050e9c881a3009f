// docs/first-steps.md as its reader meets it: every command of the page, in its order, in a clean copy of this tree, on a machine with traffic. From the
// first command that goes on, all is run in a network namespace of its own, so that its ports and its agent meet nobody else's.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { requirePart } from '../parts/go-program.ts';
import { LabNetwork } from './network.ts';
import { missingLine, type PageStep, readPage } from './page-commands.ts';
import { waitFor } from './wait.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = 'docs/first-steps.md';
/** Set-up, on a machine that does much else. */
const SET_UP_TIMEOUT_MS = 600_000;
const OUTPUT_TIMEOUT_MS = 120_000;

const part = await requirePart('prometheus');
const network = new LabNetwork();
const children: ChildProcess[] = [];

/** What git would clone, with what is not committed yet. */
function copyTree(to: string): void {
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT });
  for (const path of list.toString().split('\0').filter(Boolean)) {
    if (!existsSync(join(ROOT, path))) continue;
    mkdirSync(dirname(join(to, path)), { recursive: true });
    copyFileSync(join(ROOT, path), join(to, path));
  }
}

/** The reader's shell: nothing of the npm and the Node that run this test. */
function readersEnvironment(programs: string): NodeJS.ProcessEnv {
  const isReaders = (name: string): boolean => name === 'npm_config_registry' || !/^(npm_|NODE|INIT_CWD$)/.test(name);
  const kept = Object.entries(process.env).filter(([name]) => isReaders(name));
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  return { ...Object.fromEntries(kept), PATH: [...path, programs].join(delimiter) };
}

interface Running {
  child: ChildProcess;
  printed: () => string;
}

class Reader {
  readonly #clone: string;
  readonly #environment: NodeJS.ProcessEnv;
  /** Program and arguments that enter the namespaces, once there are some. */
  #enter: string[] = [];

  constructor(clone: string, environment: NodeJS.ProcessEnv) {
    this.#clone = clone;
    this.#environment = environment;
  }

  /** Moves to a machine whose only traffic on loopback is iperf3's, with a /run/tributary of its own. */
  async moveIn(): Promise<void> {
    if (this.#enter.length > 0) return;
    const island = await network.addIsland('reader');
    const hold = 'mkdir -p /run/tributary && mount -t tmpfs tmpfs /run/tributary && echo ready && exec sleep infinity';
    const holder = island.spawn('unshare', ['--mount', 'sh', '-c', hold], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(holder);
    await once(holder.stdout ?? assert.fail('no pipe'), 'data');
    this.#enter = ['nsenter', `--net=${island.path}`, `--mount=/proc/${holder.pid}/ns/mnt`, `--wd=${this.#clone}`];
    children.push(island.spawn('iperf3', ['-s'], { stdio: 'ignore' }));
    const talk = ['-c', '127.0.0.1', '-b', '1G', '-t', '3600'];
    await waitFor(async () => ((await island.exec('ss', '-Hltn')).includes(':5201 ') ? true : undefined), 'iperf3');
    children.push(island.spawn('iperf3', talk, { stdio: 'ignore' }));
  }

  start(command: string): Running {
    const [program, ...args] = [...this.#enter, 'sh', '-c', command];
    const child = spawn(program, args, {
      ...{ cwd: this.#clone, env: this.#environment, detached: true },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    let printed = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        printed = (printed + chunk.toString()).slice(-(1 << 20));
      });
    return { child, printed: () => printed };
  }

  async run(command: string): Promise<string> {
    const { child, printed } = this.start(command);
    await once(child, 'close');
    return printed();
  }
}

/** Ctrl-C in its terminal. */
async function interrupt({ child }: Running): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null) return;
  const closed = once(child, 'close');
  process.kill(-child.pid, 'SIGINT');
  await closed;
}

function differences(output: string[], printed: string): string | undefined {
  const missing = missingLine(output, printed, hostname());
  return missing === undefined ? undefined : `the page says\n${missing}\nbut this came:\n${printed}`;
}

/** Runs a command until it prints what the page says: what has happened is in a window that closes a little later. */
async function check(reader: Reader, { command, output }: Extract<PageStep, { kind: 'command' }>): Promise<string> {
  let printed = '';
  await waitFor(
    async () => {
      printed = await reader.run(command);
      return differences(output, printed) === undefined ? true : undefined;
    },
    `$ ${command}`,
    { timeoutMs: OUTPUT_TIMEOUT_MS, detail: () => differences(output, printed) ?? '' },
  );
  return printed;
}

test(`${PAGE} says what happens`, { skip: part.skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-first-steps-'));
  const clone = join(folder, 'tributary');
  const background: Running[] = [];
  t.after(async () => {
    for (const running of background) await interrupt(running);
    for (const child of children) child.kill('SIGKILL');
    await network.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  copyTree(clone);
  const reader = new Reader(clone, readersEnvironment(dirname(part.path ?? '')));
  const steps = readPage(readFileSync(join(ROOT, PAGE), 'utf8'));
  assert.ok(steps.length >= 8, 'the page has its commands');
  for (const step of steps) {
    if (step.kind === 'file') {
      writeFileSync(join(clone, step.name), step.text);
      continue;
    }
    const { command, output, isBackground } = step;
    await t.test(command, async () => {
      if (!isBackground) {
        await check(reader, step);
        return;
      }
      await reader.moveIn();
      const running = reader.start(command);
      background.push(running);
      await waitFor(
        () => {
          const difference = differences(output, running.printed());
          if (difference !== undefined && running.child.exitCode !== null) throw new Error(`it ended: ${difference}`);
          return difference === undefined ? true : undefined;
        },
        `$ ${command}`,
        { timeoutMs: SET_UP_TIMEOUT_MS, detail: () => differences(output, running.printed()) ?? '' },
      );
    });
  }
});
