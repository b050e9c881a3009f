// `tributary replay`: recordings of agents through a reducer, in this process or a running one.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { sortEdges } from '../api/edge-order.ts';
import { readEdges } from '../api/edges.ts';
import { WINDOW_COUNT_MAX, WindowStore } from '../api/window-store.ts';
import { LEVEL_NAMES, type LevelName, parseLevel } from '../export/levels.ts';
import { startClock } from '../lib/clock.ts';
import { UsageError } from '../lib/usage-error.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { RecordingAgent } from '../reducer/recording-agent.ts';
import { inSuccession, openRecordings, replay } from '../reducer/replay.ts';
import { lastWindowOf, replayOverTcp } from '../reducer/replay-tcp.ts';
import { addStageCounters } from '../reducer/stage-counters.ts';
import { PIPE_COLUMNS, renderTable } from '../view/edges-table.ts';
import { parseListenAddress } from '../wire/transport/address.ts';
import { assertReachable } from '../wire/transport/tcp.ts';
import { WORKER_COUNT_MAX } from './reducer-options.ts';

/** What `replay sample` replays; `npm run record-sample` makes it. */
const SAMPLE_FOLDER = join(import.meta.dirname, '../../test/golden/sample');
const SAMPLE = 'sample';
const ALL_LEVELS = Object.keys(LEVEL_NAMES) as LevelName[];

interface ReplayFlags {
  workers: string;
  seed: string;
  speed: 'max' | 'real';
  level: string;
  json: boolean;
  reducer?: string;
  insecure: boolean;
}

export function register(command: Command): void {
  command
    .argument(
      '<path...>',
      `recordings made by tributary agent --output file:PATH, or "${SAMPLE}" for the one that comes with it`,
    )
    .option('--workers <N>', 'worker threads', '1')
    .option('--seed <HEX>', 'seed of the hash tables; changes nothing that is printed', '1')
    .addOption(new Option('--speed <SPEED>', 'at once, or as long as it took').choices(['max', 'real']).default('max'))
    .option('--level <LEVEL>', `what is printed: ${ALL_LEVELS.join(', ')}; with --json also all`, 'id_id')
    .option('--json', 'print each window as one line for each level, in canonical order', false)
    .option('--reducer <ADDRESS>', 'tell a running reducer instead, with all windows moved to now')
    .option('--insecure', 'allow plaintext to another host', false)
    .action(run);
}

async function run(paths: string[], flags: ReplayFlags): Promise<void> {
  const files = paths.flatMap((path) => (path === SAMPLE ? sampleFiles() : [path]));
  if (flags.reducer === undefined) await replayHere(files, flags);
  else await replayThere(files, flags, flags.reducer);
}

async function replayHere(files: readonly string[], flags: ReplayFlags): Promise<void> {
  const levels = parseLevels(flags);
  const store = new WindowStore();
  const agents = await openRecordings(files);
  const closeWindow = (closed: ClosedWindow): void => {
    if (flags.json) printWindow(closed, levels);
    else store.push(closed);
  };
  const options = {
    workers: parseWorkers(flags.workers),
    hashSeed: parseSeed(flags.seed),
    isRealTime: flags.speed === 'real',
  };
  const { windows, readings } = await replay(agents, options, closeWindow);
  if (!flags.json) printTable(store, levels[0]);
  const { counts, refused } = addStageCounters(readings.map(({ stages }) => stages));
  const reasons = Object.entries(refused).map(([reason, count]) => `, ${count} refused as ${reason}`);
  console.error(
    `${windows} windows, ${counts.FramesAccepted} frames, ${counts.FlowsJoined} flows joined${reasons.join('')}`,
  );
  for (const agent of agents) reportDamage(agent);
}

/** One line for each level: what the API would answer if this were its only window. */
function printWindow(closed: ClosedWindow, levels: readonly LevelName[]): void {
  const store = new WindowStore();
  store.push(closed);
  for (const level of levels) process.stdout.write(`${JSON.stringify(readEdges(store, level, 1))}\n`);
}

function printTable(store: WindowStore, level: LevelName): void {
  const answer = readEdges(store, level, WINDOW_COUNT_MAX);
  const width = process.stdout.columns ?? PIPE_COLUMNS;
  for (const line of renderTable(answer, sortEdges(answer.edges, 'bytes'), { width })) console.log(line);
}

/** What a damaged file did not tell is said, not hidden. */
function reportDamage({ path, reader, framesUnfinished }: RecordingAgent): void {
  const { truncatedBytes, seqGaps, refused } = reader;
  const parts = [
    ...(truncatedBytes > 0 ? [`${truncatedBytes} bytes at its end are no whole frame`] : []),
    ...(framesUnfinished > 0 ? [`${framesUnfinished} frames of an unfinished window were left out`] : []),
    ...(seqGaps > 0 ? [`${seqGaps} gaps between frames`] : []),
    ...(refused.total > 0 ? [`${refused.total} damaged frames`] : []),
  ];
  if (parts.length > 0) console.error(`${path}: ${parts.join(', ')}`);
}

async function replayThere(files: readonly string[], flags: ReplayFlags, reducer: string): Promise<void> {
  const reach = { address: parseListenAddress(reducer), insecure: flags.insecure };
  assertReachable(reach);
  const isRealTime = flags.speed === 'real';
  const lastWindows = isRealTime ? [0] : await Promise.all((await openRecordings(files)).map(lastWindowOf));
  const agents = await openRecordings(files);
  const firstWindow = Math.min(...agents.map(({ hello }) => hello.firstWindow));
  const options = { ...reach, firstWindow, lastWindow: Math.max(...lastWindows), isRealTime };
  const clock = startClock();
  const replayAll = async (succession: readonly RecordingAgent[]): Promise<void> => {
    for (const agent of succession) await replayOverTcp(agent, options, clock);
  };
  await Promise.all(inSuccession(agents).map(replayAll));
  console.error(`${agents.length} recordings told to ${reducer}`);
  for (const agent of agents) reportDamage(agent);
}

function sampleFiles(): string[] {
  const files = listRecordings(SAMPLE_FOLDER);
  if (files.length === 0)
    throw new UsageError('TRB_SAMPLE', `${SAMPLE_FOLDER} holds no recording: npm run record-sample makes it`);
  return files;
}

function listRecordings(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.zst'))
      .sort()
      .map((name) => join(folder, name));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

function parseLevels({ level, json }: ReplayFlags): LevelName[] {
  if (json && level === 'all') return ALL_LEVELS;
  const name = parseLevel(level);
  if (name === undefined) throw new UsageError('TRB_LEVEL', `--level ${level}: use one of ${ALL_LEVELS.join(', ')}`);
  return [name];
}

function parseWorkers(text: string): number {
  const workers = Number(text);
  if (Number.isInteger(workers) && workers >= 1 && workers <= WORKER_COUNT_MAX) return workers;
  throw new UsageError('TRB_OPTION', `--workers ${text}: use a whole number from 1 to ${WORKER_COUNT_MAX}`);
}

function parseSeed(text: string): bigint {
  if (/^[0-9a-f]{1,16}$/i.test(text)) return BigInt(`0x${text}`);
  throw new UsageError('TRB_OPTION', `--seed ${text}: use 1 to 16 hexadecimal digits`);
}
