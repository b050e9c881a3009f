// Which executable an owner runs, told after it has ended. Programs here are copies of the shell whose names agree in the 15 characters
// that the kernel's comm has.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { KernelEventType, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import { type Host, Lab, waitFor } from './testing/lab.ts';
import { Observer } from './testing/observer.ts';

const PROGRAMS = ['short-lived-client-of-pears', `short-lived-client-of-${'apples'.repeat(30)}`];
const COMM = 'short-lived-cli';

const lab = new Lab();
const folder = mkdtempSync(join(tmpdir(), 'executables-'));
let observer: Observer;
let host: Host;

before(() => {
  for (const program of PROGRAMS) copyFileSync('/bin/bash', join(folder, program));
  host = lab.host('h');
  observer = new Observer({ scopeNetns: host.netns });
});

after(() => {
  observer?.close();
  lab.close();
  rmSync(folder, { recursive: true });
});

const pathOf = (program: string): string => join(folder, program);
const executableOf = ({ ownerPid, ownerStartTimeNs }: SocketEvent): string | undefined =>
  observer.collector.executableOf(ownerPid, ownerStartTimeNs);
const readComm = ({ ownerComm }: SocketEvent): string => Buffer.from(ownerComm).toString().replace(/\0.*/s, '');

/** Connections of clients to this port, told by now. */
function clientsOf(port: number): SocketEvent[] {
  return observer.drain().filter(({ type, remotePort }) => type === KernelEventType.SocketOpen && remotePort === port);
}

/** The opening of one connection, made by a process that has ended since. */
async function clientOf(port: number): Promise<SocketEvent> {
  await waitFor('the opening', () => clientsOf(port).length > 0);
  const [opened] = clientsOf(port);
  assert.equal(existsSync(`/proc/${opened.ownerPid}`), false);
  return opened;
}

test('each of 500 processes that connect and end at once', async () => {
  const COUNT = 250;
  const port = await host.peer().listen({ host: '127.0.0.1' });
  const connects = PROGRAMS.map((program) => `'${pathOf(program)}' -c ': <>/dev/tcp/127.0.0.1/${port}'`).join('; ');
  host.run('bash', '-c', `for ((i = 0; i < ${COUNT}; i++)); do ${connects}; done`);
  await waitFor('every opening', () => clientsOf(port).length === COUNT * PROGRAMS.length);
  const opened = clientsOf(port);
  assert.equal(new Set(opened.map(({ ownerPid }) => ownerPid)).size, COUNT * PROGRAMS.length);
  assert.deepEqual([...new Set(opened.map(readComm))], [COMM]);
  // One after the other, in turn.
  for (const [index, event] of opened.entries()) assert.equal(executableOf(event), PROGRAMS[index % PROGRAMS.length]);
});

test('a child that runs what its parent runs', async () => {
  const port = await host.peer().listen({ host: '127.0.0.1' });
  host.run(pathOf(PROGRAMS[0]), '-c', `(: <>/dev/tcp/127.0.0.1/${port}); true`);
  assert.equal(executableOf(await clientOf(port)), PROGRAMS[0]);
});

test('a script: the executable is its interpreter, as /proc says, whatever its comm', async () => {
  const port = await host.peer().listen({ host: '127.0.0.1' });
  const script = join(folder, 'fetch');
  writeFileSync(script, `#!${pathOf(PROGRAMS[0])}\n: <>/dev/tcp/127.0.0.1/${port}\n`, { mode: 0o755 });
  host.run(script);
  const opened = await clientOf(port);
  assert.equal(readComm(opened), 'fetch');
  assert.equal(executableOf(opened), PROGRAMS[0]);
});

test('a process that connects again after exec() has its new executable', async () => {
  const port = await host.peer().listen({ host: '127.0.0.1' });
  const connect = `: <>/dev/tcp/127.0.0.1/${port}`;
  host.run(pathOf(PROGRAMS[0]), '-c', `${connect}; exec '${pathOf(PROGRAMS[1])}' -c '${connect}'`);
  await waitFor('both openings', () => clientsOf(port).length === 2);
  const [first, second] = clientsOf(port);
  assert.deepEqual([second.ownerPid, second.ownerStartTimeNs], [first.ownerPid, first.ownerStartTimeNs]);
  assert.equal(executableOf(second), PROGRAMS[1]);
});

test('a process that sends a datagram and ends', async () => {
  const PORT = 4711;
  host.run(pathOf(PROGRAMS[1]), '-c', `echo hello >/dev/udp/127.0.0.1/${PORT}`);
  const flow = observer.walk('totals').find(({ remotePort }) => remotePort === PORT);
  assert.ok(flow);
  assert.equal(existsSync(`/proc/${flow.ownerPid}`), false);
  assert.equal(executableOf(flow), PROGRAMS[1]);
});

test('a process without sockets is not kept, nor one that took over the number of another', async () => {
  const pid = Number(host.run('sh', '-c', 'echo $$'));
  assert.equal(observer.collector.executableOf(pid, 1n), undefined);
  const port = await host.peer().listen({ host: '127.0.0.1' });
  host.run(pathOf(PROGRAMS[0]), '-c', `: <>/dev/tcp/127.0.0.1/${port}`);
  const { ownerPid, ownerStartTimeNs } = await clientOf(port);
  assert.equal(observer.collector.executableOf(ownerPid, ownerStartTimeNs + 1n), undefined);
});

test('a process outside the scope is not kept', async () => {
  const outside = lab.host('o');
  const everything = new Observer({ scopeNetns: outside.netns });
  try {
    const port = await outside.peer().listen({ host: '127.0.0.1' });
    outside.run(pathOf(PROGRAMS[0]), '-c', `: <>/dev/tcp/127.0.0.1/${port}`);
    const opened = await everything.find('the opening', ({ remotePort }) => remotePort === port);
    assert.equal(everything.collector.executableOf(opened.ownerPid, opened.ownerStartTimeNs), PROGRAMS[0]);
    assert.equal(executableOf(opened), undefined);
  } finally {
    everything.close();
  }
});
