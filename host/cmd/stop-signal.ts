// Signals that a running role answers to (docs/operating.md).
import { constants } from 'node:os';
import type { Logger } from 'pino';

/** Orchestrators kill after ten seconds at the earliest; whoever presses Ctrl-C has less patience. */
const STOP_LIMIT_MS = 4_800;
const EXIT_GAVE_UP = 1;

/**
 * Resolves with the first signal that asks the process to stop; a second one ends it at once, with exit code 128 + its number. `further`: SIGHUP
 * of a role that reads nothing again, for which it means that its terminal is gone.
 */
export function stopSignal(...further: NodeJS.Signals[]): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let isStopping = false;
  const receive = (signal: NodeJS.Signals): void => {
    if (isStopping) process.exit(128 + constants.signals[signal]);
    isStopping = true;
    resolve(signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM', ...further] as const) process.on(signal, receive);
  return promise;
}

/** Stops in time or not at all: a step that hangs is given up, said so, and the process ends. */
export async function stopInTime(log: Logger, stop: () => Promise<void>): Promise<void> {
  const timer = setTimeout(() => {
    log.error({ waitedMs: STOP_LIMIT_MS }, 'stopping takes too long: what is not told or exported by now is given up');
    process.exit(EXIT_GAVE_UP);
  }, STOP_LIMIT_MS);
  await stop();
  clearTimeout(timer);
}

/** On SIGUSR1, which Node would take for a debugger, logs one record of what the process holds, whatever the level of the log. */
export function tellStateOnSignal(log: Logger, readState: () => object): void {
  process.on('SIGUSR1', () => {
    // Made now: a child that begins with its parent's level is silenced with it when a reload raises that.
    const told = log.child({}, { level: 'info' });
    const { rss, heapUsed, external } = process.memoryUsage();
    const memory = { residentBytes: rss, heapBytes: heapUsed, externalBytes: external };
    told.info({ ...readState(), memory, uptimeSeconds: Math.round(process.uptime()) }, 'state');
  });
}
