// `tributary up`: agent, reducer and a live view of this host in one process, joined by a unix socket that only this process knows.
import { mkdtempSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Logger } from 'pino';
import { resolveAgentOptions } from '../agent/options.ts';
import { readEdges } from '../api/edges.ts';
import { type Configuration, SERIES_BUDGET_MAX } from '../config/definition.ts';
import { addConfiguration, checked, type Load, type Loaded } from '../config/load.ts';
import { Reload } from '../config/reload.ts';
import { formatDuration } from '../lib/duration.ts';
import { HAS_TERMINAL } from '../lib/terminal.ts';
import { createLog } from '../telemetry/log.ts';
import { storeSource } from '../view/edge-source.ts';
import { healthLine } from '../view/health-line.ts';
import { HeldLog } from '../view/held-log.ts';
import { LinePrinter } from '../view/line-printer.ts';
import { LiveView } from '../view/live-view.ts';
import { createAgent, logMachine } from './create-agent.ts';
import { EXIT_TRAP } from './defaults.ts';
import { resolveReducerOptions } from './reducer-options.ts';
import { ReducerService } from './reducer-service.ts';
import { checkUp } from './role-checks.ts';
import { stopInTime, stopSignal, tellStateOnSignal } from './stop-signal.ts';

interface Logs {
  log: Logger;
  heldLog: HeldLog;
}

interface Configured {
  load: Load;
  loaded: Loaded;
}

/** On a terminal the picture is the message; what goes wrong is still said. */
const DEFAULT_LEVEL = process.stdout.isTTY ? 'error' : 'warn';

/** A terminal shows so many windows added up: what happens once in a second stays long enough to be read. */
const WINDOWS_SHOWN = 5;

const EXAMPLES = `
Examples:
  tributary up
  tributary up --by failures --window 5s
  tributary up --prometheus-listen 127.0.0.1:9464`;

export function register(command: Command): void {
  const load = addConfiguration(command, 'up');
  command.addHelpText('after', EXAMPLES).action(() => run(load));
}

async function run(load: Load): Promise<void> {
  const loaded = load();
  checkUp(loaded);
  const heldLog = new HeldLog((text) => writeSync(process.stderr.fd, text));
  const { level = DEFAULT_LEVEL, format } = loaded.values.log;
  const log = createLog('up', { level, format, destination: heldLog });
  const directory = mkdtempSync(join(tmpdir(), 'tributary-up-'));
  try {
    await runIn(directory, { load, loaded }, { log, heldLog });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function runIn(directory: string, configuration: Configured, { log, heldLog }: Logs): Promise<void> {
  const socket = { path: join(directory, 'agents.sock') };
  const failed = Promise.withResolvers<never>();
  const { up, api, prometheus } = configuration.loaded.values;
  const { window, lateness } = up;
  const options = resolveReducerOptions({
    ...{ api, prometheus, insecure: false, tls: {} },
    reducer: {
      ...{ listen: [socket], workers: 1, window, lateness, level: ['az_az'], verifyNodeNames: false },
      // All connections of this host are shown.
      seriesBudget: SERIES_BUDGET_MAX,
    },
  });
  let show = (): void => {};
  const reducer = new ReducerService(
    // The agent of this process is the only one that will ever come.
    { ...options, idHistograms: true, recoveryMs: 0 },
    {
      ...{ log, environment: process.env, onClosed: () => show() },
      fail: () => process.exit(EXIT_TRAP),
    },
  );
  const agentOptions = resolveAgentOptions({
    ...{ insecure: false, tls: {} },
    agent: {
      reducer: socket,
      window,
      zone: '',
      zstd: false,
      drops: true,
      dns: true,
      dnsNames: false,
      udp: true,
      udpIdle: 60_000_000_000n,
      containerSocket: '/var/run/docker.sock',
      containerdSocket: '/run/containerd/containerd.sock',
    },
  });
  const stopped = HAS_TERMINAL ? stopSignal('SIGHUP') : stopSignal();
  const reload = createReload(configuration, log, reducer);
  if (!HAS_TERMINAL) reload.start();
  await reducer.start();
  const agent = await createAgent(agentOptions, log, failed.reject);
  tellStateOnSignal(log, () => ({ agent: agent.state(), reducer: reducer.state() }));
  const ends: Promise<unknown>[] = [stopped, failed.promise];
  let view: LiveView | undefined;
  try {
    await agent.start();
    logMachine(log, agent);
    reload.ready();
    if (process.stdout.isTTY) {
      view = createView(agentOptions.node, up, reducer, heldLog);
      await view.start();
      ends.push(view.ended);
      show = () => void view?.refresh();
    } else {
      const printer = new LinePrinter(up.by, (text) => process.stdout.write(text));
      const print = async (): Promise<void> =>
        printer.print(await readEdges(reducer.store, up.level, 1), healthLine(reducer.pipeline()));
      show = () => void print().catch(failed.reject);
    }
    await Promise.race(ends);
  } finally {
    reload.stop();
    show = () => {};
    view?.stop();
    await stopInTime(log, async () => {
      await agent.stop();
      await reducer.stop();
    });
  }
}

function createReload({ load, loaded }: Configured, log: Logger, reducer: ReducerService): Reload {
  return new Reload(
    { role: 'up', loaded },
    {
      ...{ load: checked(load, checkUp), log },
      apply: {
        'log.level': (values) => {
          log.level = values.log.level ?? DEFAULT_LEVEL;
        },
      },
      always: () => reducer.reload(),
    },
  );
}

function createView(
  node: string,
  { by, level, window }: Configuration['up'],
  reducer: ReducerService,
  heldLog: HeldLog,
): LiveView {
  const view = new LiveView(
    {
      by,
      level,
      windows: WINDOWS_SHOWN,
      title: `tributary on ${node}, ${WINDOWS_SHOWN} windows of ${formatDuration(window)}`,
    },
    {
      source: storeSource(reducer.store, () => reducer.pipeline()),
      ...{ input: process.stdin, output: process.stdout, environment: process.env },
      onLeft: () => heldLog.release(),
    },
  );
  heldLog.hold((line) => view.notice(line));
  return view;
}
