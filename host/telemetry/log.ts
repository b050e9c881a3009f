import { type Logger, pino } from 'pino';

/** JSON lines on standard error, so that standard output carries only what a role was asked for. */
export function createLog(name: string): Logger {
  return pino({ name, level: process.env.TRIBUTARY_LOG_LEVEL ?? 'info' }, pino.destination({ dest: 2, sync: true }));
}
