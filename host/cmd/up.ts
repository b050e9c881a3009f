// `tributary up`: agent, reducer and a live view of this host in one process, joined by a unix socket that only this process knows.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { Logger } from 'pino';
import { parseAgentOptions } from '../agent/options.ts';
import { readEdges } from '../api/edges.ts';
import { LEVEL_NAMES, type LevelName, parseLevel } from '../export/levels.ts';
import { UsageError } from '../lib/usage-error.ts';
import { createLog } from '../telemetry/log.ts';
import { SORT_KEYS, type SortKey } from '../view/edges-table.ts';
import { healthLine } from '../view/health-line.ts';
import { LiveView } from '../view/live-view.ts';
import { createAgent } from './create-agent.ts';
import { DEFAULT_API, EXIT_TRAP } from './defaults.ts';
import { parseReducerFlags } from './reducer-options.ts';
import { ReducerService } from './reducer-service.ts';
import { stopSignal } from './stop-signal.ts';

interface UpFlags {
  api: string;
  level: string;
  by: SortKey;
  window: string;
  lateness: string;
}

/** A terminal shows so many windows added up: what happens once in a second stays long enough to be read. */
const WINDOWS_SHOWN = 5;
/** How often a closed window is looked for. */
const REFRESH_MS = 100;

export function register(command: Command): void {
  command
    .addOption(new Option('--level <LEVEL>', `what is shown: ${Object.keys(LEVEL_NAMES).join(', ')}`).default('id_id'))
    .addOption(new Option('--by <KEY>', 'sort by').choices(SORT_KEYS).default('rate'))
    .option('--window <DURATION>', 'how often the picture changes', '1s')
    .option('--lateness <DURATION>', 'how long a window waits for the agent', '1s')
    .option('--api <ADDRESS>', 'HOST:PORT or unix:PATH of the HTTP API', DEFAULT_API)
    .action(run);
}

async function run(flags: UpFlags): Promise<void> {
  const level = parseLevel(flags.level);
  if (level === undefined)
    throw new UsageError('TRB_LEVEL', `--level ${flags.level}: use one of ${Object.keys(LEVEL_NAMES).join(', ')}`);
  // On a terminal the picture is the message; what goes wrong is still said.
  const log = createLog('up', process.stdout.isTTY ? 'error' : 'warn');
  const directory = await mkdtemp(join(tmpdir(), 'tributary-up-'));
  try {
    await runIn(directory, flags, level, log);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function runIn(directory: string, flags: UpFlags, level: LevelName, log: Logger): Promise<void> {
  const socket = `unix:${join(directory, 'agents.sock')}`;
  const failed = Promise.withResolvers<never>();
  const { window, lateness, api } = flags;
  const options = parseReducerFlags({
    listen: [socket],
    api,
    workers: '1',
    window,
    lateness,
    level: ['az_az'],
    insecure: false,
  });
  const reducer = new ReducerService(options, { log, environment: process.env, fail: () => process.exit(EXIT_TRAP) });
  const agentOptions = parseAgentOptions({ reducer: socket, window });
  await reducer.start();
  const agent = await createAgent(agentOptions, log, failed.reject);
  const stopping = new AbortController();
  void stopSignal().then(() => stopping.abort());
  const view = new LiveView(
    {
      by: flags.by,
      title: `tributary: connections of ${agentOptions.node}, the last ${WINDOWS_SHOWN} windows of ${window}`,
    },
    process.stdout,
  );
  try {
    await agent.start();
    view.start();
    await Promise.race([show(reducer, view, level, stopping.signal), failed.promise]);
  } finally {
    view.stop();
    await agent.stop();
    await reducer.stop();
  }
}

async function show(reducer: ReducerService, view: LiveView, level: LevelName, signal: AbortSignal): Promise<void> {
  const windows = process.stdout.isTTY ? WINDOWS_SHOWN : 1;
  let shown: number | undefined;
  while (!signal.aborted) {
    const { newest } = reducer.store;
    if (newest !== shown || shown === undefined) {
      shown = newest;
      view.show({ answer: readEdges(reducer.store, level, windows), health: healthLine(reducer.pipeline()) });
    }
    await sleep(REFRESH_MS, undefined, { signal }).catch(() => undefined);
  }
}
