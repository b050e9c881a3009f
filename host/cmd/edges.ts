// `tributary edges`: who talks to whom, from a running reducer.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { fetchJson } from '../api/client.ts';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { SORT_KEYS, type SortKey, sortEdges } from '../api/edge-order.ts';
import { LEVEL_NAMES, type LevelName, parseLevel } from '../export/levels.ts';
import { UsageError } from '../lib/usage-error.ts';
import { PIPE_COLUMNS, renderTable } from '../view/edges-table.ts';
import { healthLine, type PipelineTotals } from '../view/health-line.ts';
import { LiveView } from '../view/live-view.ts';
import { parseListenAddress } from '../wire/transport/address.ts';
import { DEFAULT_API } from './defaults.ts';
import { stopSignal } from './stop-signal.ts';

interface EdgesOptions {
  api: string;
  level: string;
  by: SortKey;
  windows: string;
  json: boolean;
  watch: boolean;
}

export function register(command: Command): void {
  command
    .option('--api <ADDRESS>', 'unix:PATH or HOST:PORT of the reducer', DEFAULT_API)
    .addOption(
      new Option('--level <LEVEL>', `level of the tree: ${Object.keys(LEVEL_NAMES).join(', ')}`).default('id_id'),
    )
    .addOption(new Option('--by <KEY>', 'sort by').choices(SORT_KEYS).default('rate'))
    .option('--windows <N>', 'add up the last N windows', '1')
    .option('--json', 'print the answer of the API', false)
    .option('--watch', 'print again for each window', false)
    .action(run);
}

async function run(options: EdgesOptions): Promise<void> {
  const level = parseLevel(options.level);
  if (level === undefined)
    throw new UsageError('TRB_LEVEL', `--level ${options.level}: use one of ${Object.keys(LEVEL_NAMES).join(', ')}`);
  if (!/^[1-9]\d*$/.test(options.windows))
    throw new UsageError('TRB_WINDOWS', `--windows ${options.windows}: use a whole number from 1`);
  if (options.watch) await watch(options, level);
  else print(options, await fetchEdges(options, level));
}

async function fetchEdges({ api, windows }: EdgesOptions, level: LevelName): Promise<EdgesAnswer> {
  return fetchJson<EdgesAnswer>(parseListenAddress(api), `/api/v1/edges?level=${level}&windows=${windows}`);
}

function print({ json, by }: EdgesOptions, answer: EdgesAnswer): void {
  if (json) {
    console.log(JSON.stringify(answer));
    return;
  }
  if (answer.edges.length === 0) {
    console.error(
      answer.lastWindow === null
        ? 'no window has closed yet'
        : 'nothing moved in this window; --windows N adds up more of them',
    );
    return;
  }
  for (const line of renderTable(answer, sortEdges(answer.edges, by), process.stdout.columns ?? PIPE_COLUMNS))
    console.log(line);
}

async function watch(options: EdgesOptions, level: LevelName): Promise<void> {
  const address = parseListenAddress(options.api);
  const view = new LiveView({ by: options.by, title: `edges at ${level} by ${options.by}` }, process.stdout);
  const stopping = new AbortController();
  void stopSignal().then(() => stopping.abort());
  if (!options.json) view.start();
  try {
    let shown: number | null = null;
    while (!stopping.signal.aborted) {
      const answer = await fetchEdges(options, level);
      if (answer.lastWindow !== shown) {
        shown = answer.lastWindow;
        if (options.json) console.log(JSON.stringify(answer));
        else view.show({ answer, health: healthLine(await fetchJson<PipelineTotals>(address, '/api/v1/pipeline')) });
      }
      await sleep(250, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  } finally {
    if (!options.json) view.stop();
  }
}
