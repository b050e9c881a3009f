// The launcher as a user meets it, on machines that lack something. A machine is a folder: the launcher's files, where every user
// can read them, and links to the tools that every system has, besides those that the case adds.
import { strict as assert } from 'node:assert';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const LAUNCHER_FILES = ['enter.sh', 'packages.sh', 'packages.txt'];
const BASE_TOOLS = [
  'awk',
  'cat',
  'chmod',
  'date',
  'dirname',
  'grep',
  'id',
  'kill',
  'mktemp',
  'rm',
  'sh',
  'sleep',
  'uname',
];
const NOBODY = 65534;

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

interface Machine {
  /** What os-release(5) says; this machine's own otherwise. */
  distribution?: string;
  /** Commands that are on the path besides the base; programs that do nothing. */
  commands?: string[];
  /** Who starts it, if not who runs the tests. */
  uid?: number;
}

function makeMachine(commands: string[]): { script: string; bin: string } {
  const machine = mkdtempSync(join(tmpdir(), 'launch-'));
  folders.push(machine);
  chmodSync(machine, 0o755);
  const [launch, bin] = ['clone/host/launch', 'bin'].map((folder) => join(machine, folder));
  for (const folder of [launch, bin]) mkdirSync(folder, { recursive: true });
  for (const file of LAUNCHER_FILES) copyFileSync(join(import.meta.dirname, file), join(launch, file));
  for (const tool of BASE_TOOLS) symlinkSync(join('/usr/bin', tool), join(bin, tool));
  for (const command of commands) writeFileSync(join(bin, command), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  return { script: join(launch, 'enter.sh'), bin };
}

/** Runs the launcher there; it must not get as far as to change anything. */
function enter(
  { commands = [], uid, distribution }: Machine,
  ...args: string[]
): { code: number | null; output: string } {
  const { script, bin } = makeMachine(commands);
  const release = join(bin, 'os-release');
  if (distribution !== undefined) writeFileSync(release, distribution);
  const env = { PATH: bin, ...(distribution === undefined ? {} : { OS_RELEASE: release }) };
  const run = spawnSync('/bin/sh', [script, ...args], { env, uid, encoding: 'utf8' });
  return { code: run.status, output: run.stdout + run.stderr };
}

const isRoot = process.getuid?.() === 0;
const asRoot = { skip: isRoot ? undefined : 'changes the user, which needs root' };

test('without root `up` names the command that works, and one that works without', asRoot, () => {
  const { code, output } = enter({ uid: NOBODY }, 'start');
  assert.equal(code, 1);
  assert.match(output, /sudo npm start -- up\n/);
  assert.match(output, /npm start -- replay sample\n/);
});

test('without root the tests name the command that works, and those that run without', asRoot, () => {
  const { code, output } = enter({ uid: NOBODY }, 'test');
  assert.equal(code, 1);
  assert.match(output, /sudo npm test\n/);
  assert.match(output, /npm test -- host wasm-modules schemas\n/);
});

const distributions = [
  { name: 'Debian', tool: 'apt-get', command: /apt-get install --no-install-recommends clang llvm .*g\+\+ make/ },
  { name: 'Fedora', tool: 'dnf', command: /dnf install clang llvm .*gcc-c\+\+ make/ },
  { name: 'Arch', tool: 'pacman', command: /pacman -S --needed clang llvm .*gcc make/ },
  { name: 'an unknown distribution', tool: 'emerge', command: /what Debian calls clang llvm .*g\+\+ make/ },
];
for (const { name, tool, command } of distributions) {
  test(`on ${name} a dry run names the missing packages, each with its reason, and their command`, () => {
    const { code, output } = enter({ commands: [tool] }, 'start', '--dry-run');
    assert.equal(code, 0, output);
    assert.match(output, command);
    assert.match(output, /^ {2}clang +compiles the eBPF programs$/m);
    assert.match(output, /^then: tributary up$/m);
  });
}

test('what is there is not asked for again', () => {
  const { output } = enter({ commands: ['apt-get', 'clang', 'llvm-strip', 'g++'] }, 'start', '--dry-run');
  assert.match(output, /apt-get install --no-install-recommends (libbpf-dev )?make\n/);
});

const plans = [
  { args: ['start'], outcome: 'tributary up', asksForPackages: true },
  { args: ['start', '--by', 'rtt'], outcome: 'tributary up --by rtt', asksForPackages: true },
  { args: ['start', 'agent', '--output', 'file:x'], outcome: 'tributary agent --output file:x', asksForPackages: true },
  { args: ['start', 'replay', 'sample'], outcome: 'tributary replay sample', asksForPackages: false },
  { args: ['start', 'reducer'], outcome: 'tributary reducer', asksForPackages: false },
  { args: ['start', 'up', '--help'], outcome: 'tributary up --help', asksForPackages: false },
  { args: ['test'], outcome: 'the tests in all folders', asksForPackages: true },
  {
    args: ['test', 'host', 'schemas/layout.test.ts'],
    outcome: 'the tests in host schemas/layout.test.ts',
    asksForPackages: false,
  },
  { args: ['test', 'host', 'test/lab'], outcome: 'the tests in host test/lab', asksForPackages: true },
];
for (const { args, outcome, asksForPackages } of plans) {
  const [mode, ...rest] = args;
  test(`${args.join(' ')} ${asksForPackages ? 'needs' : 'needs no'} packages of the system`, () => {
    const { output } = enter({ commands: ['apt-get'] }, mode, '--dry-run', ...rest);
    assert.match(output, new RegExp(`^then: ${outcome}$`, 'm'));
    assert.equal(output.includes('apt-get install'), asksForPackages);
  });
}

test('a reducer builds its addon where there is a compiler, and starts without it elsewhere', () => {
  const plan = (commands: string[]): string => enter({ commands }, 'start', '--dry-run', 'reducer').output;
  assert.match(plan(['apt-get', 'g++', 'make']), /^build, where out of date: wasm:release reducer-addon$/m);
  assert.match(plan(['apt-get', 'make']), /^build, where out of date: wasm:release$/m);
});

test('only the benchmark of the agent needs root and builds eBPF programs', asRoot, () => {
  assert.match(enter({ uid: NOBODY }, 'bench', 'agent').output, /sudo npm run bench -- agent\n/);
  assert.match(enter({}, 'bench', '--dry-run', 'agent').output, /^build.*: wasm:release bpf addon$/m);
  const { code, output } = enter({ uid: NOBODY }, 'bench', '--dry-run', 'native');
  assert.equal(code, 0, output);
  assert.match(output, /^build.*: wasm:release reducer-addon$/m);
  const { output: complaint } = enter({ uid: NOBODY }, 'bench', 'native');
  assert.match(complaint, /npm is missing/);
});

test('a distribution that was not tried is told so, with where the needed packages are listed; one that was is not', () => {
  const says = (distribution: string): string =>
    enter({ commands: ['apt-get'], distribution }, 'start', '--dry-run', 'doctor').output;
  assert.match(says('ID=arch\nPRETTY_NAME="Arch Linux"\n'), /^Arch Linux was not tried; .*packages\.txt\.$/m);
  assert.doesNotMatch(says('ID=debian\nVERSION_ID="12"\n'), /was not tried/);
});

test('without npm the set-up says so before anything else', () => {
  const { code, output } = enter({ commands: ['apt-get'] }, 'start', 'doctor');
  assert.equal(code, 1);
  assert.match(output, /^npm is missing, .*apt-get install --no-install-recommends npm\)\.$/m);
});

test('the doctor asks for no packages and needs no root', asRoot, () => {
  const { code, output } = enter({ commands: ['apt-get'], uid: NOBODY }, 'start', '--dry-run', 'doctor');
  assert.equal(code, 0, output);
  assert.match(output, /^system packages: all there$/m);
  assert.match(output, /^then: tributary doctor$/m);
});

test('a package manager that fails ends the set-up with its output, and services may start again', asRoot, () => {
  const hadPolicy = existsSync('/usr/sbin/policy-rc.d');
  const { code, output } = enter({ commands: ['apt-get'] }, 'tools');
  assert.equal(code, 1);
  assert.equal(existsSync('/usr/sbin/policy-rc.d'), hadPolicy);
  assert.match(output, /clang-format +formats C and C\+\+/);
  assert.match(output, /apt-get install clang-format failed \(exit code 1\)/);
});

test('an interrupt lets the package manager come to its end', asRoot, async () => {
  const hadPolicy = existsSync('/usr/sbin/policy-rc.d');
  const { script, bin } = makeMachine([]);
  const done = join(bin, 'done');
  writeFileSync(join(bin, 'apt-get'), `#!/bin/sh\necho begun >${done}\nsleep 2\necho ended >${done}\n`, {
    mode: 0o755,
  });
  const launcher = spawn('/bin/sh', [script, 'tools'], { env: { PATH: bin }, stdio: 'ignore' });
  while (!existsSync(done)) await sleep(20);
  launcher.kill('SIGINT');
  const [code] = await once(launcher, 'close');
  assert.equal(code, 130);
  assert.equal(readFileSync(done, 'utf8'), 'ended\n');
  assert.equal(existsSync('/usr/sbin/policy-rc.d'), hadPolicy);
});
