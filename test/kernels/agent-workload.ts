// Connections under the agent's own core, from the kernel's events to what a reducer would have been told.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CollectorOptions, load } from '../../bpf/addon/index.ts';
import { calls } from '../../bpf/programs/testing/peer.ts';
import { AgentCore } from '../../host/agent/agent-core.ts';
import { KernelSource } from '../../host/agent/kernel-source.ts';
import { nameProcess } from '../../host/agent/processes.ts';
import { LedgerModel } from '../../host/agent/testing/ledger-model.ts';
import type { Count } from './answer.ts';

const CONNECTIONS = 10;
const BYTES = 5_000;
const CONTEXT = { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };
const AGENT_WASM = join(import.meta.dirname, '../../wasm-modules/build/agent.wasm');
const PATIENCE_MS = 30_000;

async function connectAndClose(): Promise<void> {
  const port = await calls.listen({ host: '127.0.0.1' });
  for (let i = 0; i < CONNECTIONS; i++) {
    const client = await calls.connect({ host: '127.0.0.1', port });
    const server = await calls.accept();
    await calls.send(client, BYTES);
    await calls.receive(server, BYTES);
    await calls.close(client);
    await calls.untilEnded(server);
    await calls.close(server);
  }
}

export async function observeAgent(object: CollectorOptions['object']): Promise<Count[]> {
  const core = new AgentCore(
    {
      module: new WebAssembly.Module(readFileSync(AGENT_WASM)),
      hashSeed: [1n, 2n],
      windowNs: 1_000_000_000n,
      addressSpace: 'default',
      boot: 'guest',
    },
    { nameProcess },
  );
  const source = new KernelSource(load({ object }), core);
  source.start();
  const before = core.counters.socketsLive;
  await connectAndClose();
  source.readTotals();
  const deadline = performance.now() + PATIENCE_MS;
  while (core.counters.socketsLive !== before && performance.now() < deadline) {
    await sleep(20);
    source.readTotals();
  }
  const ledger = new LedgerModel();
  ledger.receive(core.encodeWindow(1, CONTEXT));
  ledger.commit(1);
  source.stop();
  const { connections, bytesSent, bytesReceived } = ledger.exported;
  const numbers: [name: string, told: number | bigint, expected: number][] = [
    ['agent: ends of connections', connections, 2 * CONNECTIONS],
    ['agent: bytes sent', bytesSent, CONNECTIONS * BYTES],
    ['agent: bytes received', bytesReceived, CONNECTIONS * BYTES],
    ['agent: ends that were not seen to close', core.counters.closesInferred, 0],
    ['agent: events that it refused', core.counters.eventsMalformed, 0],
  ];
  return numbers.map(([name, told, expected]) => ({ name, hooks: ['tcp_state'], told: Number(told), expected }));
}
