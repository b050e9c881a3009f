// Processes that connect, and end before the agent looks: told with their executable. The programs are copies of the shell whose names agree
// in the 15 characters of the kernel's comm.
import { strict as assert } from 'node:assert';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { load } from '../../bpf/addon/index.ts';
import { Lab, waitFor } from '../../bpf/programs/testing/lab.ts';
import { AgentCore } from '../../host/agent/agent-core.ts';
import { CgroupPaths } from '../../host/agent/cgroup-paths.ts';
import { KernelSource } from '../../host/agent/kernel-source.ts';
import { nameOwner } from '../../host/agent/processes.ts';
import { itemsOf } from '../../host/agent/testing/decode.ts';
import { loadModule } from '../../host/agent/testing/modules.ts';
import type { Payload } from '../../host/wire/channel-sender.ts';
import { FrameKind } from '../../host/wire/gen/wire-layout.ts';
import { decodeAnnounce, type Process } from '../../host/wire/gen/wire-tables.ts';

const PROGRAMS = ['short-lived-client-of-apples', 'short-lived-client-of-pears'];
const COUNT = 500;
const CONTEXT = { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };

function processesOf(payloads: readonly Payload[]): Process[] {
  return payloads
    .filter(({ kind }) => kind === FrameKind.Announce)
    .flatMap(({ payload }) => decodeAnnounce(payload)?.processes ?? []);
}

test('500 processes that ended before the ring was read: each is told with its executable, none is unnamed', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ended-processes-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const program of PROGRAMS) copyFileSync('/bin/bash', join(folder, program));
  const lab = new Lab();
  t.after(() => lab.close());
  const host = lab.host('e');
  const port = await host.peer().listen({ host: '127.0.0.1' });

  // Without a hierarchy of control groups, so that nothing but the executable names a process.
  const paths = new CgroupPaths(undefined, () => 0);
  const core = new AgentCore(
    {
      ...{ module: loadModule('agent.wasm'), hashSeed: [1n, 2n], windowNs: 1_000_000_000n },
      ...{ addressSpace: 'default', boot: 'boot' },
    },
    {
      nameProcess: (process) => nameOwner(process, { paths, executableOf: (owner) => source.executableOf(owner) }),
    },
  );
  const source = new KernelSource(load({ scopeNetns: host.netns }), core);
  t.after(() => source.stop());
  source.start();

  const connects = PROGRAMS.map((program) => `'${join(folder, program)}' -c ': <>/dev/tcp/127.0.0.1/${port}'`);
  host.run('bash', '-c', `for ((i = 0; i < ${COUNT / PROGRAMS.length}; i++)); do ${connects.join('; ')}; done`);

  const payloads: Payload[] = [];
  const clients = (): Process[] => processesOf(payloads).filter(({ comm }) => comm?.startsWith('short-lived'));
  await waitFor('every process', () => {
    source.readTotals();
    payloads.push(...core.encodeWindow(core.toldWindow + 1, CONTEXT));
    return clients().length >= COUNT;
  });
  assert.deepEqual([...new Set(clients().map(({ comm }) => comm))], ['short-lived-cli']);
  for (const program of PROGRAMS) {
    const named = clients().filter(({ executable }) => executable === program);
    assert.equal(named.length, COUNT / PROGRAMS.length, program);
  }
  assert.equal(itemsOf(payloads, 'WindowEnd').at(-1)?.processesUnnamed, 0n);
});
