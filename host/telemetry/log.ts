// Logs go to standard error, so that standard output carries only what a role was asked for.
import { type DestinationStream, type Logger, levels, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { UsageError } from '../lib/usage-error.ts';

export const LOG_LEVELS: readonly string[] = [...Object.values(levels.labels), 'silent'];
export const LOG_FORMATS: readonly string[] = ['auto', 'json', 'text'];

export interface LogOptions {
  /** One of LOG_LEVELS; TRIBUTARY_LOG_LEVEL has the last word. */
  level?: string;
  /** `auto` is text on a terminal and JSON lines elsewhere; TRIBUTARY_LOG_FORMAT has the last word. */
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

/** Throws UsageError TRB_LOG for an unknown level or format. */
export function createLog(name: string, options: LogOptions = {}): Logger {
  const { level = 'info', format = 'auto' } = options;
  const wantedLevel = choose('TRIBUTARY_LOG_LEVEL', level, LOG_LEVELS);
  const wantedFormat = choose('TRIBUTARY_LOG_FORMAT', format, LOG_FORMATS);
  // Written when the call returns: the last words of a process are the ones that matter.
  const destination = options.destination ?? pino.destination({ dest: STDERR, sync: true });
  const { isTTY } = process.stderr;
  const isText = wantedFormat === 'text' || (wantedFormat === 'auto' && isTTY);
  const hasColors = isTTY && process.stderr.hasColors();
  return pino({ name, level: wantedLevel }, isText ? writeText(destination, hasColors) : destination);
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

function choose(variable: string, option: string, allowed: readonly string[]): string {
  const given = process.env[variable];
  if (given === undefined) return option;
  if (allowed.includes(given)) return given;
  throw new UsageError('TRB_LOG', `${variable}=${given}: use one of ${allowed.join(', ')}`);
}
