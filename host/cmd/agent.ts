// `tributary agent`: looks at the sockets of this host until it is told to stop.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { Agent } from '../agent/agent.ts';
import { type AgentFlags, parseAgentOptions } from '../agent/options.ts';
import { startClock } from '../lib/clock.ts';
import { createLog } from '../telemetry/log.ts';
import { assertReachable } from '../wire/transport/tcp.ts';

const AGENT_WASM = join(import.meta.dirname, '../../wasm-modules/build/agent.wasm');

export function register(command: Command): void {
  command
    .option('--reducer <ADDRESS>', 'where to tell: HOST:PORT or unix:PATH')
    .option('--output <file:PATH>', 'write the same frames to a file; .zst compresses it')
    .option('--scope <netns=PATH>', 'look at one network namespace only')
    .option('--window <DURATION>', 'length of a window; a reducer has the last word', '10s')
    .option('--node <NAME>', 'name of this host (default: its hostname, or the name of the namespace)')
    .option('--zone <NAME>', 'availability zone of this host', '')
    .option('--insecure', 'allow plaintext to another host', false)
    .action(run);
}

async function run(flags: AgentFlags): Promise<void> {
  const options = parseAgentOptions(flags);
  if (options.reducer !== undefined) assertReachable(options.reducer);
  // Loaded here: the usage is explained on machines that cannot observe, too.
  const { load } = await import('@tributary/bpf');
  const failed = Promise.withResolvers<never>();
  const agent = new Agent(options, {
    log: createLog('agent'),
    clock: startClock(),
    module: new WebAssembly.Module(readFileSync(AGENT_WASM)),
    loadCollector: (scopeNetns) => load({ scopeNetns }),
    fail: failed.reject,
  });
  try {
    await agent.start();
    await Promise.race([stopSignal(), failed.promise]);
  } finally {
    await agent.stop();
  }
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal));
  });
}
