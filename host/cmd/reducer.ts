// `tributary reducer`: joins, names and rolls up what agents tell until it is told to stop.
import type { Command } from 'commander';
import { DEFAULT_TOKEN_FILE } from '../api/api-access.ts';
import { createLog } from '../telemetry/log.ts';
import { DEFAULT_API, EXIT_TRAP } from './defaults.ts';
import {
  DEFAULT_LATENESS,
  DEFAULT_WINDOW,
  defaultWorkers,
  parseReducerFlags,
  type ReducerFlags,
} from './reducer-options.ts';
import { ReducerService } from './reducer-service.ts';
import { stopSignal } from './stop-signal.ts';

const DEFAULT_LISTEN = '127.0.0.1:4400';
const DEFAULT_LEVEL = 'az_az';

export function register(command: Command): void {
  const collect = (text: string, before: string[]): string[] => [...before, text];
  command
    .option(
      '--listen <ADDRESS>',
      `HOST:PORT or unix:PATH for agents; may be repeated (default: "${DEFAULT_LISTEN}")`,
      collect,
      [],
    )
    .option('--api <ADDRESS>', 'HOST:PORT or unix:PATH of the HTTP API', DEFAULT_API)
    .option('--workers <N>', 'worker threads', defaultWorkers())
    .option('--window <DURATION>', 'length of a window, 1s to 5m', DEFAULT_WINDOW)
    .option('--lateness <DURATION>', 'how long a window waits for agents after its end', DEFAULT_LATENESS)
    .option('--level <LEVEL>', `level that is exported; may be repeated (default: "${DEFAULT_LEVEL}")`, collect, [])
    .option('--insecure', 'accept plaintext from other hosts', false)
    .option('--tls-ca <FILE>', 'certificates of the authorities that agents may have their certificates from')
    .option('--tls-cert <FILE>', 'certificate of this reducer')
    .option('--tls-key <FILE>', 'key of this reducer')
    .option(
      '--api-token-file <FILE>',
      `holds the token that the API asks for over TCP (default: "${DEFAULT_TOKEN_FILE}")`,
    )
    .option('--prometheus-listen <HOST:PORT>', 'serve /metrics for a Prometheus there')
    .action(run);
}

async function run(flags: ReducerFlags): Promise<void> {
  const listen = flags.listen.length > 0 ? flags.listen : [DEFAULT_LISTEN];
  const level = flags.level.length > 0 ? flags.level : [DEFAULT_LEVEL];
  const log = createLog('reducer');
  const service = new ReducerService(parseReducerFlags({ ...flags, listen, level }), {
    log,
    environment: process.env,
    fail: () => process.exit(EXIT_TRAP),
  });
  await service.start();
  const signal = await stopSignal();
  log.info({ signal }, 'stopping');
  await service.stop();
}
