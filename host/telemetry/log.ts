// Logs go to standard error, so that standard output carries only what a role was asked for.
import { type DestinationStream, type Logger, levels, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';

export const LOG_LEVELS: readonly string[] = [...Object.values(levels.labels), 'silent'];
export const LOG_FORMATS: readonly string[] = ['auto', 'json', 'text'];

export const DEFAULT_LOG_LEVEL = 'info';

export interface LogOptions {
  /** One of LOG_LEVELS. */
  level?: string;
  /** One of LOG_FORMATS: `auto` is text on a terminal and JSON lines elsewhere. */
  format?: string;
  /** In place of standard error. */
  destination?: DestinationStream;
}

const STDERR = 2;
/** What a terminal might take for a command: C0 and C1 controls and DEL. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\x00-\x1f\x7f-\x9f]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same, but for the lines of a stack
const CONTROLS_IN_LINES = /[\x00-\x09\x0b-\x1f\x7f-\x9f]/g;

export function createLog(name: string, options: LogOptions = {}): Logger {
  const { level = DEFAULT_LOG_LEVEL, format = 'auto' } = options;
  // Written when the call returns: the last words of a process are the ones that matter.
  const destination = options.destination ?? pino.destination({ dest: STDERR, sync: true });
  const { isTTY } = process.stderr;
  const isText = format === 'text' || (format === 'auto' && isTTY);
  const hasColors = isTTY && process.stderr.hasColors();
  return pino({ name, level }, isText ? writeText(destination, hasColors) : destination);
}

/**
 * Turns pino's JSON lines into text: time, level, role, message, fields; the stack of an error on lines of its own. Names and errors come
 * from outside too, so their control characters are shown, not sent.
 */
export function writeText(destination: DestinationStream, colorize: boolean): DestinationStream {
  const toText = prettyFactory({
    colorize,
    singleLine: true,
    ignore: 'pid,hostname',
    translateTime: 'SYS:HH:MM:ss.l',
  });
  const show = (key: string, value: unknown): unknown =>
    typeof value === 'string' ? value.replace(key === 'stack' ? CONTROLS_IN_LINES : CONTROLS, escapeControl) : value;
  return { write: (line) => destination.write(toText(JSON.parse(line, show))) };
}

function escapeControl(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
