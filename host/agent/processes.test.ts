import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CgroupPaths, findCgroupRoot } from './cgroup-paths.ts';
import { nameEnded, nameOwner, nameProcess, readStartTicks } from './processes.ts';

function startTimeNs(pid: number): bigint {
  return readStartTicks(readFileSync(`/proc/${pid}/stat`, 'utf8')) * 10_000_000n;
}

test('a running process is named by its executable, whatever it calls itself', () => {
  const name = nameProcess({ pid: process.pid, startTimeNs: startTimeNs(process.pid) + 9_999_999n });
  assert.equal(name?.executable, realpathSync(process.execPath));
  assert.match(name.cgroup, /^\//);
});

test('a process that took over the number of another one is not named', () => {
  assert.equal(nameProcess({ pid: process.pid, startTimeNs: startTimeNs(process.pid) - 10_000_000n }), undefined);
});

test('a process that has ended is not named', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(child, 'spawn');
  assert(child.pid !== undefined);
  const identity = { pid: child.pid, startTimeNs: startTimeNs(child.pid) };
  assert.notEqual(nameProcess(identity), undefined);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(nameProcess(identity), undefined);
});

test('a process that has exited and is not waited for has no executable but the one that was kept', async () => {
  // The shell becomes a program that never waits for the shell's child.
  const parent = spawn('sh', ['-c', 'sleep 1000 & echo $!; exec sleep 1000'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const pid = Number(await once(parent.stdout, 'data'));
    while (readFileSync(`/proc/${parent.pid}/comm`, 'utf8') !== 'sleep\n') await sleep(5);
    process.kill(pid, 'SIGKILL');
    while (!readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')) await sleep(5);
    const ended = { pid, startTimeNs: startTimeNs(pid), handle: 1, uid: 0, cgroupId: 0n, comm: new Uint8Array(16) };
    const paths = new CgroupPaths(undefined, () => 0);
    assert.equal(nameProcess(ended)?.executable, '');
    assert.equal(nameOwner(ended, { paths, executableOf: () => 'curl' })?.executable, 'curl');
    assert.equal(nameOwner(ended, { paths, executableOf: () => undefined })?.executable, '');
  } finally {
    parent.kill();
  }
});

test('a kernel thread has no executable', { skip: process.getuid?.() !== 0 && 'only root may ask for it' }, () => {
  const name = nameProcess({ pid: 2, startTimeNs: startTimeNs(2) });
  assert.equal(name?.executable, '');
});

test('the start time is found behind a name with spaces and parentheses', () => {
  const rest = Array.from({ length: 40 }, (_, index) => String(index + 4)).join(' ');
  assert.equal(readStartTicks(`12 (a) b (c)) S ${rest}`), 22n);
});

test('an ended process is named by its control group, which is looked for again when it is new', () => {
  const root = mkdtempSync(join(tmpdir(), 'cgroup-'));
  let nowMs = 0;
  const executable = undefined;
  const paths = new CgroupPaths(root, () => nowMs);
  const create = (path: string): { cgroupId: bigint } => {
    mkdirSync(join(root, path), { recursive: true });
    return { cgroupId: statSync(join(root, path), { bigint: true }).ino };
  };
  try {
    const web = create('system.slice/web.service');
    assert.equal(nameEnded(web, { paths, executable })?.unit, 'web.service');
    assert.equal(nameEnded(create('.'), { paths, executable }), undefined);
    const shop = create(`docker/${'a'.repeat(64)}`);
    assert.equal(nameEnded(shop, { paths, executable }), undefined);
    nowMs = 1_000;
    assert.equal(nameEnded(shop, { paths, executable })?.containerId, 'a'.repeat(64));
    assert.equal(nameEnded(web, { paths: new CgroupPaths(undefined, () => nowMs), executable }), undefined);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('an ended process keeps the executable that the kernel saw, with its control group or without', () => {
  const root = mkdtempSync(join(tmpdir(), 'cgroup-'));
  const paths = new CgroupPaths(root, () => 0);
  try {
    mkdirSync(join(root, 'web.service'));
    const cgroupId = statSync(join(root, 'web.service'), { bigint: true }).ino;
    const inGroup = nameEnded({ cgroupId }, { paths, executable: 'curl' });
    assert.deepEqual([inGroup?.executable, inGroup?.unit], ['curl', 'web.service']);
    const elsewhere = nameEnded({ cgroupId: 1n << 60n }, { paths, executable: 'curl' });
    assert.deepEqual([elsewhere?.executable, elsewhere?.unit], ['curl', '']);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('the unified hierarchy is found wherever it is mounted', () => {
  const hybrid = [
    '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
    '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
  ].join('\n');
  assert.equal(findCgroupRoot(hybrid), '/sys/fs/cgroup/unified');
  assert.equal(findCgroupRoot('35 24 0:30 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw'), '/sys/fs/cgroup');
  assert.equal(findCgroupRoot('31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n'), undefined);
});
