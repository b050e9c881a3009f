// `tributary edges`: who talks to whom, from a running reducer. Its filters are the query parameters of the API, checked by the same schema.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { type ApiTarget, resolveApiTarget } from '../api/api-target.ts';
import { ApiError, fetchJson } from '../api/client.ts';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { describeIssue, EDGE_PARAMETERS, type EdgesQuery, EdgesQuerySchema } from '../api/edge-query.ts';
import { followWindows } from '../api/window-follower.ts';
import { addConfiguration, type Load } from '../config/load.ts';
import { UsageError } from '../lib/usage-error.ts';
import { apiSource } from '../view/edge-source.ts';
import { csvHead, csvRecords } from '../view/edges-csv.ts';
import { PIPE_COLUMNS, renderTable } from '../view/edges-table.ts';
import { healthLine, type PipelineTotals } from '../view/health-line.ts';
import { LinePrinter } from '../view/line-printer.ts';
import { LiveView } from '../view/live-view.ts';
import { formatAddress } from '../wire/transport/address.ts';
import { apiTargetOf } from './role-checks.ts';
import { stopSignal } from './stop-signal.ts';

const EXIT_NOTHING_FOUND = 1;
const EXIT_NO_ANSWER = 3;
const RETRY_MS = 1_000;

const HELP = `
A filter that is given twice is met by either value; different filters have to be met together. A PATTERN is looked
for in everything that is said of either end. Of an option with one value, such as --windows, the last one counts.
  TEXT     a part of a name, upper and lower case alike; a*b is a whole name, =TEXT the name exactly
  ADDRESS  one address, or a range such as 10.0.0.0/8; PATTERN, --from and --to take them too
  PORT     of the server: 443, or 8000-8999
  RATE     bytes per second, both ways together: 500, 10kB, 1.5MiB
Without --json or --csv, and with --watch on a terminal, the live view of \`tributary up\` is shown.
Columns of --csv and fields of --json: docs/live-view.md and docs/openapi.json.
Exit codes: 0 edges were found, 1 none was, 2 wrong usage, 3 the reducer did not answer.`;

interface Flags extends Record<string, unknown> {
  json?: boolean;
  csv?: boolean;
  watch?: boolean;
}

interface Question {
  target: ApiTarget;
  query: EdgesQuery;
  /** What was asked, as the API takes it. */
  parameters: URLSearchParams;
}

const repeated = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

export function register(command: Command): void {
  const filter = (flags: string, text: string): Option => new Option(flags, text).argParser(repeated);
  command
    .optionsGroup('Filters and formats:')
    .argument('[PATTERN...]', 'text, address or range, port or protocol of either end')
    .option('--windows <N>', 'add up the last N windows', '1')
    .addOption(filter('--from <TEXT>', 'client'))
    .addOption(filter('--to <TEXT>', 'server'))
    .addOption(filter('--process <TEXT>', 'process at either end, where the end is named after it'))
    .addOption(filter('--unit <TEXT>', 'systemd unit at either end'))
    .addOption(filter('--container <TEXT>', 'container id at either end'))
    .addOption(filter('--address <ADDRESS>', 'address of an end that is known by nothing else'))
    .addOption(filter('--port <PORT>', 'port of the server'))
    .addOption(filter('--protocol <NAME>', 'tcp, udp, or the number of another protocol'))
    .option('--failed', 'only edges on which a connect has failed')
    .option('--min-rate <RATE>', 'at least so many bytes per second')
    .option('--limit <N>', 'at most N edges')
    .addOption(new Option('--detail <WHAT>', 'tallies: what each end counted besides, in --json'))
    .option('--json', 'print the answer of the API, one line')
    .addOption(new Option('--csv', 'print comma-separated values').conflicts('json'))
    .option('--watch', 'go on with each window that closes')
    .addHelpText('after', HELP);
  const load = addConfiguration(command, 'edges');
  command.action((patterns: string[], flags: Flags) => run(patterns, flags, load));
}

async function run(patterns: string[], flags: Flags, load: Load): Promise<void> {
  const { values } = load();
  const question = {
    ...readQuestion(patterns, { ...flags, ...values.edges }),
    target: await resolveApiTarget(apiTargetOf(values)),
  };
  try {
    if (flags.watch) await watch(question, flags);
    else if (!(await printOnce(question, flags))) process.exitCode = EXIT_NOTHING_FOUND;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    console.error(`tributary: ${error.message} (${error.code})`);
    process.exitCode = EXIT_NO_ANSWER;
  }
}

/** Throws UsageError TRB_QUERY. */
function readQuestion(patterns: readonly string[], flags: Flags): Omit<Question, 'target'> {
  const match = patterns.length > 0 ? patterns : undefined;
  const asked: Record<string, unknown> = { ...flags, match, min_rate: flags.minRate, failed: flags.failed && 'true' };
  const entries = EDGE_PARAMETERS.flatMap((name) => (asked[name] === undefined ? [] : [[name, asked[name]] as const]));
  const { success, data, error } = EdgesQuerySchema.safeParse(Object.fromEntries(entries));
  if (!success) {
    const { parameter, message } = describeIssue(error);
    const flag = parameter === 'match' ? 'PATTERN' : `--${parameter.replace('_', '-')}`;
    throw new UsageError('TRB_QUERY', `${flag} ${[asked[parameter]].flat().join(' ')}: ${message}`);
  }
  const parameters = new URLSearchParams();
  for (const [name, value] of entries) for (const each of [value].flat()) parameters.append(name, String(each));
  return { query: data, parameters };
}

function fetchEdges({ target, parameters }: Question, until?: number): Promise<EdgesAnswer> {
  const query = until === undefined ? parameters : new URLSearchParams([...parameters, ['until', String(until)]]);
  return fetchJson<EdgesAnswer>(target, `/api/v1/edges?${query}`);
}

/** False when there was nothing to print. */
async function printOnce(question: Question, { json, csv }: Flags): Promise<boolean> {
  const answer = await fetchEdges(question);
  const { edges, lastWindow } = answer;
  if (json) console.log(JSON.stringify(answer));
  else if (csv) process.stdout.write(csvHead() + csvRecords(answer, edges));
  else if (edges.length > 0) {
    const { by } = question.query;
    const width = process.stdout.columns ?? PIPE_COLUMNS;
    for (const line of renderTable(answer, edges, { width, by })) console.log(line);
  } else
    console.error(
      lastWindow === null ? 'no window has closed yet' : 'no such edge moved; --windows N adds up more windows',
    );
  return edges.length > 0;
}

async function watch(question: Question, flags: Flags): Promise<void> {
  const stopping = new AbortController();
  void stopSignal().then(() => stopping.abort());
  if (process.stdout.isTTY && !flags.json && !flags.csv) await watchOnScreen(question, stopping);
  else await watchInPipe(question, flags, stopping.signal);
}

async function watchInPipe(question: Question, { json, csv }: Flags, signal: AbortSignal): Promise<void> {
  const { target, query } = question;
  const printer = new LinePrinter(query.by ?? 'rate', (text) => process.stdout.write(text));
  if (csv) process.stdout.write(csvHead());
  for await (const window of follow(target, signal)) {
    const answer = await fetchEdges(question, window);
    if (json) console.log(JSON.stringify(answer));
    else if (csv) process.stdout.write(csvRecords(answer, answer.edges));
    else printer.print(answer, healthLine(await fetchJson<PipelineTotals>(target, '/api/v1/pipeline')));
  }
}

async function watchOnScreen({ target, query, parameters }: Question, stopping: AbortController): Promise<void> {
  const { level, windows, by = 'rate' } = query;
  for (const name of ['level', 'windows', 'by', 'limit']) parameters.delete(name);
  const source = apiSource(target, parameters);
  await source.edges({ level, windows, until: undefined });
  const title = `tributary at ${formatAddress(target)}`;
  const view = new LiveView(
    { by, level, windows, title },
    { source, input: process.stdin, output: process.stdout, environment: process.env },
  );
  await view.start();
  void view.ended.then(() => stopping.abort());
  try {
    while (!stopping.signal.aborted) {
      await refreshEachWindow(target, view, stopping.signal).catch((error: Error) => {
        if (!(error instanceof ApiError)) throw error;
      });
      await view.refresh();
      await sleep(RETRY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  } finally {
    view.stop();
  }
}

async function refreshEachWindow(target: ApiTarget, view: LiveView, signal: AbortSignal): Promise<void> {
  for await (const _ of follow(target, signal)) await view.refresh();
}

function follow(target: ApiTarget, signal: AbortSignal): AsyncGenerator<number> {
  const missed = (count: number): void => console.error(`${count} windows were dropped before they could be read`);
  return followWindows(target, { signal, missed });
}
