import { join } from 'node:path';
import type { CollectorOptions } from '@tributary/bpf';
import type { Logger } from 'pino';
import { Agent } from '../agent/agent.ts';
import { KernelSymbols } from '../agent/kernel-symbols.ts';
import type { AgentOptions } from '../agent/options.ts';
import type { Scope } from '../agent/scope.ts';
import { SpentMemory } from '../agent/spent-memory.ts';
import { readMachine } from '../doctor/machine.ts';
import { startClock } from '../lib/clock.ts';
import { compileModule } from '../lib/compile-module.ts';
import { assertReachable } from '../wire/transport/tcp.ts';

const AGENT_WASM = join(import.meta.dirname, '../../wasm-modules/build/agent.wasm');

/** Far less than a process is remembered for after its last socket. */
const PROCESS_KNOWN_MS = 1_000;
/** A quarter of the ring: less waits for the timer. */
const WAKEUP_BYTES = 2 << 20;

/** An agent with its real parts. `fail`: it cannot tell anything any more. Throws UsageError. */
export async function createAgent(options: AgentOptions, log: Logger, fail: (error: Error) => void): Promise<Agent> {
  if (options.reducer !== undefined) assertReachable(options.reducer, options.reducer.tls !== undefined);
  // Loaded here: the usage is explained on machines that cannot observe, too.
  const [{ load, readKernelEnum, trimHeap, dropFilePages }, { readFacts }] = await Promise.all([
    import('@tributary/bpf'),
    import('../doctor/facts.ts'),
  ]);
  return new Agent(options, {
    log,
    clock: startClock(),
    module: await compileModule(AGENT_WASM),
    readFacts,
    loadCollector: () =>
      load({
        ...scopeFor(options.scope),
        drops: options.drops,
        dns: options.dns,
        datagrams: options.udp,
        datagramIdleMs: Number(options.udpIdle / 1_000_000n),
        processKnownMs: PROCESS_KNOWN_MS,
        wakeupBytes: WAKEUP_BYTES,
      }),
    memory: new SpentMemory({ trimHeap, dropFilePages }),
    symbols: new KernelSymbols({ dropReasons: readKernelEnum('skb_drop_reason') }),
    fail,
  });
}

function scopeFor(scope: Scope | undefined): Partial<CollectorOptions> {
  if (scope === undefined) return {};
  const { kind, inode, level } = scope;
  return kind === 'netns' ? { scopeNetns: inode } : { scopeCgroup: inode, scopeCgroupLevel: level };
}

/** What `tributary doctor` examines, as one record: a log that is sent in answers the first questions. */
export function logMachine(log: Logger, agent: Agent): void {
  const machine = readMachine();
  const hooks = Object.entries(agent.hooks);
  const attached = hooks.filter(([, backend]) => backend !== undefined).length;
  log.info(
    { machine, hooks: Object.fromEntries(hooks) },
    `linux ${machine.kernel} ${machine.architecture}, ${attached} of ${hooks.length} hooks`,
  );
}
