import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { UsageError } from '../lib/usage-error.ts';
import { parseKernelTables, readHostAddresses } from './host-addresses.ts';
import { AgentLock, createIdentity } from './identity.ts';

test('machine and boot are the same for every session, the session is not', () => {
  const [one, other] = [createIdentity(), createIdentity()];
  assert.deepEqual([one.nodeId, one.bootId], [other.nodeId, other.bootId]);
  assert.notEqual(one.session, other.session);
  assert.equal(one.boot, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
});

test('a second agent of one identity is refused until the first has gone; other scopes are free', async () => {
  const identity = { ...createIdentity(), nodeId: createIdentity().session };
  const lock = await AgentLock.take(identity, '');
  await assert.rejects(
    AgentLock.take(identity, ''),
    (error) => error instanceof UsageError && error.code === 'TRB_AGENT_RUNS',
  );
  const scoped = await AgentLock.take(identity, 'netns:1');
  await lock.release();
  const next = await AgentLock.take(identity, '');
  await Promise.all([scoped.release(), next.release()]);
});

test('the tables of the kernel tell the addresses of a namespace', () => {
  const tables = `Main:
  +-- 0.0.0.0/1 2 0 2
     +-- 10.9.1.0/24 2 0 1
        |-- 10.9.1.0
           /24 link UNICAST
        |-- 10.9.1.2
           /32 host LOCAL
        |-- 10.9.1.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000002 02 40 00 80     eth0
`;
  assert.deepEqual(parseKernelTables(tables), [
    '10.9.1.2',
    '127.0.0.1',
    '0000:0000:0000:0000:0000:0000:0000:0001',
    'fd00:0000:0000:0000:0000:0000:0000:0002',
  ]);
});

test('a namespace has its own addresses, without those that mean something else elsewhere', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, async () => {
  const name = `tbaddr${process.pid}`;
  const ip = (...args: string[]) => assert.equal(spawnSync('ip', args).status, 0, args.join(' '));
  ip('netns', 'add', name);
  try {
    ip('-n', name, 'link', 'set', 'lo', 'up');
    ip('-n', name, 'addr', 'add', '10.9.8.7/24', 'dev', 'lo');
    ip('-n', name, 'addr', 'add', 'fd00::9/64', 'dev', 'lo');
    const addresses = await readHostAddresses(`/run/netns/${name}`);
    assert.deepEqual(
      addresses.map((address) => Buffer.from(address).toString('hex')),
      ['00000000000000000000ffff0a090807', 'fd000000000000000000000000000009'],
    );
  } finally {
    ip('netns', 'del', name);
  }
});
