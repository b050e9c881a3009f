import { type Logger, pino } from 'pino';

/**
 * JSON lines on standard error, so that standard output carries only what a role was asked for. TRIBUTARY_LOG_LEVEL has the last word on
 * the level.
 */
export function createLog(name: string, level = 'info'): Logger {
  return pino({ name, level: process.env.TRIBUTARY_LOG_LEVEL ?? level }, pino.destination({ dest: 2, sync: true }));
}
