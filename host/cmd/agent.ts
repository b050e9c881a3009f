// `tributary agent`: looks at the sockets of this host until it is told to stop.
import type { Command } from 'commander';
import { type AgentFlags, parseAgentOptions } from '../agent/options.ts';
import { createLog } from '../telemetry/log.ts';
import { createAgent } from './create-agent.ts';
import { stopSignal } from './stop-signal.ts';

export function register(command: Command): void {
  command
    .option('--reducer <ADDRESS>', 'where to tell: HOST:PORT or unix:PATH')
    .option(
      '--output <file:PATH>',
      'write the same frames to a file; .zst compresses it; beside --reducer it gets what the reducer gets, when it does',
    )
    .option('--scope <netns=PATH>', 'look at one network namespace only')
    .option('--window <DURATION>', 'length of a window; a reducer has the last word', '10s')
    .option('--node <NAME>', 'name of this host (default: its hostname, or the name of the namespace)')
    .option('--zone <NAME>', 'availability zone of this host', '')
    .option('--zstd', 'compress what is told to the reducer', false)
    .option('--insecure', 'allow plaintext to another host', false)
    .option('--tls-ca <FILE>', 'certificates of the authorities that a reducer may have its certificate from')
    .option('--tls-cert <FILE>', 'certificate of this agent')
    .option('--tls-key <FILE>', 'key of this agent')
    .option('--tls-server-name <NAME>', 'name in the certificate of the reducer (default: the host of its address)')
    .action(run);
}

async function run(flags: AgentFlags): Promise<void> {
  const failed = Promise.withResolvers<never>();
  const agent = await createAgent(parseAgentOptions(flags), createLog('agent'), failed.reject);
  try {
    await agent.start();
    await Promise.race([stopSignal(), failed.promise]);
  } finally {
    await agent.stop();
  }
}
