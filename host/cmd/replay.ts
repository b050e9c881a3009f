// `tributary replay`: recordings of agents through a reducer, in this process or a running one.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { sortEdges } from '../api/edge-order.ts';
import { detailedEdgesOf, readEdges } from '../api/edges.ts';
import { WINDOW_COUNT_MAX, WindowStore } from '../api/window-store.ts';
import type { Configuration } from '../config/definition.ts';
import { addConfiguration, type Load } from '../config/load.ts';
import { LEVEL_NAMES, type LevelName } from '../export/levels.ts';
import { startClock } from '../lib/clock.ts';
import { UsageError } from '../lib/usage-error.ts';
import type { ClosedWindow } from '../reducer/closed-window.ts';
import type { RecordingAgent } from '../reducer/recording-agent.ts';
import { inSuccession, openRecordings, replay } from '../reducer/replay.ts';
import { lastWindowOf, replayOverTcp } from '../reducer/replay-tcp.ts';
import { addStageCounters } from '../reducer/stage-counters.ts';
import { loadCredentials } from '../tls/credentials.ts';
import { parseTlsFiles } from '../tls/tls-options.ts';
import { PIPE_COLUMNS, renderTable } from '../view/edges-table.ts';
import { formatAddress } from '../wire/transport/address.ts';
import { assertReachable, type ConnectOptions } from '../wire/transport/tcp.ts';
import { checkReplay } from './role-checks.ts';

/** What `replay sample` replays; `npm run record-sample` makes it. */
const SAMPLE_FOLDER = join(import.meta.dirname, '../../test/golden/sample');
const SAMPLE = 'sample';
const ALL_LEVELS = Object.keys(LEVEL_NAMES) as LevelName[];

type ReplaySettings = Configuration['replay'];

const EXAMPLES = `
Examples:
  tributary replay sample
  tributary replay --json --level all /tmp/web1.zst /tmp/web2.zst
  tributary replay --reducer 127.0.0.1:4400 --speed real sample`;

export function register(command: Command): void {
  command.argument(
    '<path...>',
    `recordings made by tributary agent --output file:PATH, or "${SAMPLE}" for the one that comes with it`,
  );
  const load = addConfiguration(command, 'replay');
  command.addHelpText('after', EXAMPLES).action((paths: string[]) => run(paths, load));
}

async function run(paths: string[], load: Load): Promise<void> {
  const loaded = load();
  checkReplay(loaded);
  const { insecure, tls, replay: settings } = loaded.values;
  const files = paths.flatMap((path) => (path === SAMPLE ? sampleFiles() : [path]));
  if (settings.reducer === undefined) await replayHere(files, settings);
  else
    await replayThere(files, settings, { address: settings.reducer, insecure, tls: await securityOf(tls, insecure) });
}

async function securityOf(tls: Configuration['tls'], insecure: boolean): Promise<ConnectOptions['tls']> {
  const files = parseTlsFiles(tls, insecure);
  if (files === undefined) return undefined;
  const credentials = await loadCredentials(files, new Date());
  return { credentials: () => credentials, serverName: tls.serverName };
}

async function replayHere(
  files: readonly string[],
  { json, level, workers, seed, speed }: ReplaySettings,
): Promise<void> {
  const levels = level === 'all' ? ALL_LEVELS : [level];
  const store = new WindowStore();
  const agents = await openRecordings(files);
  const closeWindow = (closed: ClosedWindow): void => {
    if (json) printWindow(closed, levels);
    else void store.push(closed);
  };
  const options = { workers, hashSeed: seed, isRealTime: speed === 'real' };
  const { windows, readings } = await replay(agents, options, closeWindow);
  if (!json) await printTable(store, levels[0]);
  const { counts, refused } = addStageCounters(readings.map(({ stages }) => stages));
  const reasons = Object.entries(refused).map(([reason, count]) => `, ${count} refused as ${reason}`);
  console.error(
    `${windows} windows, ${counts.FramesAccepted} frames, ${counts.FlowsJoined} flows joined${reasons.join('')}`,
  );
  for (const agent of agents) reportDamage(agent);
}

/** One line for each level: what the API would answer, with all detail, if this were its only window. */
function printWindow(closed: ClosedWindow, levels: readonly LevelName[]): void {
  for (const level of levels) process.stdout.write(`${JSON.stringify(detailedEdgesOf(closed, level))}\n`);
}

async function printTable(store: WindowStore, level: LevelName): Promise<void> {
  const answer = await readEdges(store, level, WINDOW_COUNT_MAX);
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

async function replayThere(files: readonly string[], { speed }: ReplaySettings, reach: ConnectOptions): Promise<void> {
  assertReachable(reach, reach.tls !== undefined);
  const isRealTime = speed === 'real';
  const lastWindows = isRealTime ? [0] : await Promise.all((await openRecordings(files)).map(lastWindowOf));
  const agents = await openRecordings(files);
  const firstWindow = Math.min(...agents.map(({ hello }) => hello.firstWindow));
  const options = { ...reach, firstWindow, lastWindow: Math.max(...lastWindows), isRealTime };
  const clock = startClock();
  const replayAll = async (succession: readonly RecordingAgent[]): Promise<void> => {
    for (const agent of succession) await replayOverTcp(agent, options, clock);
  };
  await Promise.all(inSuccession(agents).map(replayAll));
  console.error(`${agents.length} recordings told to ${formatAddress(reach.address)}`);
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
