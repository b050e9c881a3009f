// `tributary reducer`: joins, names and rolls up what agents tell until it is told to stop.
import type { Command } from 'commander';
import { addConfiguration, type Load } from '../config/load.ts';
import { createLog } from '../telemetry/log.ts';
import { EXIT_TRAP } from './defaults.ts';
import { resolveReducerOptions } from './reducer-options.ts';
import { ReducerService } from './reducer-service.ts';
import { stopSignal } from './stop-signal.ts';

export function register(command: Command): void {
  const load = addConfiguration(command, 'reducer');
  command.action(() => run(load));
}

async function run(load: Load): Promise<void> {
  const { values } = load();
  const log = createLog('reducer', values.log);
  const service = new ReducerService(resolveReducerOptions(values), {
    log,
    environment: process.env,
    fail: () => process.exit(EXIT_TRAP),
  });
  await service.start();
  const signal = await stopSignal();
  log.info({ signal }, 'stopping');
  await service.stop();
}
