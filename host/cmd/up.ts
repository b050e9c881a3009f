// `tributary up`: agent, reducer and a live view of this host in one process, joined by a unix socket that only this process knows.
import { writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import type { Logger } from 'pino';
import { parseAgentOptions } from '../agent/options.ts';
import { SORT_KEYS, type SortKey } from '../api/edge-order.ts';
import { readEdges } from '../api/edges.ts';
import { LEVEL_NAMES, type LevelName, parseLevel } from '../export/levels.ts';
import { UsageError } from '../lib/usage-error.ts';
import { createLog } from '../telemetry/log.ts';
import { storeSource } from '../view/edge-source.ts';
import { healthLine } from '../view/health-line.ts';
import { HeldLog } from '../view/held-log.ts';
import { LinePrinter } from '../view/line-printer.ts';
import { LiveView } from '../view/live-view.ts';
import { createAgent } from './create-agent.ts';
import { DEFAULT_API, EXIT_TRAP } from './defaults.ts';
import { parseReducerFlags } from './reducer-options.ts';
import { ReducerService } from './reducer-service.ts';
import { stopSignal } from './stop-signal.ts';

interface Logs {
  log: Logger;
  heldLog: HeldLog;
}

interface UpFlags {
  api: string;
  prometheusListen?: string;
  level: string;
  by: SortKey;
  window: string;
  lateness: string;
}

/** A terminal shows so many windows added up: what happens once in a second stays long enough to be read. */
const WINDOWS_SHOWN = 5;

export function register(command: Command): void {
  command
    .addOption(new Option('--level <LEVEL>', `what is shown: ${Object.keys(LEVEL_NAMES).join(', ')}`).default('id_id'))
    .addOption(new Option('--by <KEY>', 'sort by').choices(SORT_KEYS).default('rate'))
    .option('--window <DURATION>', 'how often the picture changes', '1s')
    .option('--lateness <DURATION>', 'how long a window waits for the agent', '1s')
    .option('--api <ADDRESS>', 'HOST:PORT or unix:PATH of the HTTP API', DEFAULT_API)
    .option('--prometheus-listen <HOST:PORT>', 'serve /metrics for a Prometheus there')
    .action(run);
}

async function run(flags: UpFlags): Promise<void> {
  const level = parseLevel(flags.level);
  if (level === undefined)
    throw new UsageError('TRB_LEVEL', `--level ${flags.level}: use one of ${Object.keys(LEVEL_NAMES).join(', ')}`);
  const heldLog = new HeldLog((text) => writeSync(process.stderr.fd, text));
  // On a terminal the picture is the message; what goes wrong is still said.
  const log = createLog('up', { level: process.stdout.isTTY ? 'error' : 'warn', destination: heldLog });
  const directory = await mkdtemp(join(tmpdir(), 'tributary-up-'));
  try {
    await runIn(directory, flags, level, { log, heldLog });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function runIn(directory: string, flags: UpFlags, level: LevelName, { log, heldLog }: Logs): Promise<void> {
  const socket = `unix:${join(directory, 'agents.sock')}`;
  const failed = Promise.withResolvers<never>();
  const { window, lateness, api, prometheusListen } = flags;
  const options = parseReducerFlags({
    listen: [socket],
    api,
    workers: '1',
    window,
    lateness,
    level: ['az_az'],
    insecure: false,
    ...(prometheusListen === undefined ? {} : { prometheusListen }),
  });
  let show = (): void => {};
  const reducer = new ReducerService(
    { ...options, idHistograms: true },
    {
      ...{ log, environment: process.env, onClosed: () => show() },
      fail: () => process.exit(EXIT_TRAP),
    },
  );
  const agentOptions = parseAgentOptions({ reducer: socket, window });
  await reducer.start();
  const agent = await createAgent(agentOptions, log, failed.reject);
  const ends: Promise<unknown>[] = [stopSignal(), failed.promise];
  let view: LiveView | undefined;
  try {
    await agent.start();
    if (process.stdout.isTTY) {
      view = createView(agentOptions.node, flags, level, reducer, heldLog);
      await view.start();
      ends.push(view.ended);
      show = () => void view?.refresh();
    } else {
      const printer = new LinePrinter(flags.by, (text) => process.stdout.write(text));
      show = () => printer.print(readEdges(reducer.store, level, 1), healthLine(reducer.pipeline()));
    }
    await Promise.race(ends);
  } finally {
    show = () => {};
    view?.stop();
    await agent.stop();
    await reducer.stop();
  }
}

function createView(
  node: string,
  { by, window }: UpFlags,
  level: LevelName,
  reducer: ReducerService,
  heldLog: HeldLog,
): LiveView {
  const view = new LiveView(
    { by, level, windows: WINDOWS_SHOWN, title: `tributary on ${node}, ${WINDOWS_SHOWN} windows of ${window}` },
    {
      source: storeSource(reducer.store, () => reducer.pipeline()),
      ...{ input: process.stdin, output: process.stdout, environment: process.env },
      onLeft: () => heldLog.release(),
    },
  );
  heldLog.hold((line) => view.notice(line));
  return view;
}
