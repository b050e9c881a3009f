// The reducer is killed at every stage of a window's life, and one agent's connection is cut by a firewall, while real traffic runs. What an OpenTelemetry
// Collector received, summed, must be the truth: iperf3's report, nginx's log, and what the client of the short connections saw.
//
// A kill between an exporter's success and Committed repeats a window. It is named by the next incarnation's log (the newest closed window that any
// agent knows as committed) and by the points themselves (start, end, incarnation): windows beyond it are subtracted by that name.
//
// KILLS and CUTS (default 4 and 1, 15 s) shorten the test for CI; `npm run test:kills` runs 20 and 5 of 60 s.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { requirePart } from '../parts/go-program.ts';
import { startOtelCollector } from '../parts/otelcol.ts';
import { assertNear } from './edge-sums.ts';
import { assertBooked, runIperf, startIperfServer } from './iperf.ts';
import { Lab, type Role } from './lab.ts';
import { Nginx } from './nginx.ts';
import { readSumPoints, type SumPoint } from './otlp-sums.ts';
import { ShortConnections } from './short-connections.ts';
import { waitFor } from './wait.ts';

const KILLS = Number(process.env.KILLS ?? 4);
const CUTS = Number(process.env.CUTS ?? 1);
const CUT_SECONDS = Number(process.env.CUT_SECONDS ?? 15);
const RATE = 200;
const SECONDS_PER_KILL = 8;
/** Until a reducer reaches the next stage of a window. */
const MOMENT_MS_MAX = 60_000;
const WEB_PORT = 8080;
const CLOSED_PORT = 8099;
const BULK_PORT = 5201;

/** When to kill, by what the reducer logs. */
const MOMENTS: readonly { name: string; after: RegExp; delayMs: number }[] = [
  { name: 'while receiving', after: /committed window=\d+/g, delayMs: 400 },
  { name: 'while closing', after: /closed window=\d+/g, delayMs: 990 },
  { name: 'with an export in flight', after: /exporting window=\d+/g, delayMs: 0 },
  { name: 'just after an export succeeded', after: /exported window=\d+/g, delayMs: 0 },
];

const part = await requirePart('otelcol');

test(`${KILLS} kills of the reducer and ${CUTS} cuts of an agent change no sum that a collector receives`, {
  skip: part.skip,
}, async (t) => {
  const lab = new Lab({
    hosts: ['cli', 'srv'],
    reducerAddress: { srv: '127.0.0.2' },
    reducerEnvironment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta',
      TRIBUTARY_LOG_LEVEL: 'debug',
    },
  });
  t.after(() => lab.stop());
  const island = await lab.prepare();
  await island.nft(
    'table ip alias { chain out { type nat hook output priority -100; ip daddr 127.0.0.2 dnat to 127.0.0.1; }; }',
  );
  const collector = await startOtelCollector({
    directory: lab.directory,
    port: 4318,
    spawn: (program, args) => island.spawn(program, args),
  });
  t.after(() => collector.stop());
  await lab.begin();

  const server = lab.network.host('srv');
  const nginx = new Nginx(lab, 'srv', WEB_PORT);
  await startIperfServer(lab, 'srv', BULK_PORT);
  const seconds = Math.ceil(KILLS * SECONDS_PER_KILL + CUTS * (CUT_SECONDS + 5) + 5);
  const bulk = runIperf(lab, 'cli', server.v4, BULK_PORT, '-t', String(seconds), '-b', '80M');
  const short = new ShortConnections(
    { host: 'cli', address: server.v4, port: WEB_PORT, closedPort: CLOSED_PORT, ratePerSecond: RATE },
    lab,
  );

  const repeatedBy: { incarnationLog: string; nextLog: () => string }[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const moment = MOMENTS[kill % MOMENTS.length];
    const killed = await killAt(lab, moment.after, moment.delayMs);
    const next = lab.reducer;
    repeatedBy.push({ incarnationLog: killed.log, nextLog: () => next.log });
    await next.logged(/committed window=\d+/);
    t.diagnostic(`kill ${kill + 1} ${moment.name}`);
    await cutWhen(kill, lab, t);
    await sleep(1_500);
  }
  const truth = { bulk: await bulk, short: await short.end() };
  assert.deepEqual(truth.short.other, {});
  const log = await nginx.logged(truth.short.connections);
  await lab.untilEdges('role_role', 'all connections to close', (answer) =>
    answer.edges.every((edge) => edge.active === 0) ? true : undefined,
  );
  await waitUntilCommitted(lab.reducer);

  const repeated = repeatedBy.map(({ incarnationLog, nextLog }) => {
    const incarnation = match(incarnationLog, /"incarnation":"([0-9a-f]{16})".*"msg":"listening/);
    const joined = nextLog().matchAll(/"incarnation":"([0-9a-f]{16})".*"committedClosedWindow":(\d+).*"msg":"agent /g);
    const known = [...joined].filter((found) => found[1] === incarnation).map((found) => Number(found[2]));
    return { incarnation, after: Math.max(0, ...known) };
  });
  const windowNs = BigInt(lab.windowSeconds) * 1_000_000_000n;
  const isRepeated = (point: SumPoint): boolean =>
    repeated.some(
      ({ incarnation, after }) => point.incarnation === incarnation && Number(point.startNs / windowNs) > after,
    );
  const points = readSumPoints(collector.file);
  for (const { incarnation, after } of repeated) {
    const windows = new Set(
      points
        .filter((point) => point.incarnation === incarnation && isRepeated(point))
        .map((point) => point.startNs / windowNs),
    );
    t.diagnostic(
      `incarnation ${incarnation}: committed up to ${after}, repeated ${[...windows].join(' ') || 'nothing'}`,
    );
    assert.ok(windows.size <= 1, 'at most one window is repeated for a kill');
  }
  const sum = (metric: string, attributes: Record<string, string>): number =>
    points
      .filter((point) => point.metric === metric && !isRepeated(point))
      .filter((point) => Object.entries(attributes).every(([key, value]) => (point.attributes[key] ?? '') === value))
      .reduce((total, point) => total + point.value, 0);

  const web = { 'tributary.level': 'az_az', 'server.port': String(WEB_PORT) };
  assert.equal(sum('tributary.tcp.connection.count', { ...web, 'error.type': '' }), truth.short.connections);
  assert.equal(
    sum('tributary.tcp.connection.count', { ...web, 'server.port': String(CLOSED_PORT), 'error.type': 'refused' }),
    truth.short.refused,
  );
  assertNear(sum('tributary.flow.io', { ...web, 'tributary.flow.direction': 'forward' }), log.requestBytes, 'requests');
  assertNear(
    sum('tributary.flow.io', { ...web, 'tributary.flow.direction': 'reverse' }),
    log.responseBytes,
    'responses',
  );
  const bulkPoints = { ...web, 'server.port': String(BULK_PORT) };
  assertBooked(sum('tributary.flow.io', { ...bulkPoints, 'tributary.flow.direction': 'forward' }), truth.bulk);
  assert.equal(sum('tributary.tcp.connection.count', { ...bulkPoints, 'error.type': '' }), 2);
});

/** Waits for the moment, kills the reducer with SIGKILL and starts the next one. Returns the killed one. */
async function killAt(lab: Lab, after: RegExp, delayMs: number): Promise<Role> {
  const killed = lab.reducer;
  await loggedAgain(killed, after);
  if (delayMs > 0) await sleep(delayMs);
  await killed.kill('SIGKILL');
  lab.startReducer();
  return killed;
}

/** Resolves as soon as the reducer logs `pattern` once more: a poll would miss the moment. Throws when it ends or stays silent instead. */
async function loggedAgain(reducer: Role, pattern: RegExp): Promise<void> {
  const { stdout, stderr } = reducer.process;
  const seen = [...reducer.log.matchAll(pattern)].length;
  const logged = Promise.withResolvers<void>();
  const check = (): void => {
    if ([...reducer.log.matchAll(pattern)].length > seen) logged.resolve();
  };
  const fail = (what: string): void =>
    logged.reject(new Error(`the reducer ${what} before ${pattern}\n${reducer.log.slice(-4000)}`));
  const timer = setTimeout(() => fail(`was silent for ${MOMENT_MS_MAX} ms`), MOMENT_MS_MAX);
  const ended = (): void => fail('ended');
  reducer.process.once('close', ended);
  for (const stream of [stdout, stderr]) stream?.on('data', check);
  try {
    await logged.promise;
  } finally {
    clearTimeout(timer);
    reducer.process.off('close', ended);
    for (const stream of [stdout, stderr]) stream?.off('data', check);
  }
}

/** Spreads the cuts over the kills: the agent of srv loses its connection for CUT_SECONDS. */
async function cutWhen(kill: number, lab: Lab, t: { diagnostic(text: string): void }): Promise<void> {
  const isDue = Math.floor(((kill + 1) * CUTS) / KILLS) > Math.floor((kill * CUTS) / KILLS);
  if (!isDue) return;
  await lab.island.nft(`table ip cut {
    chain out { type filter hook output priority 0; ct original ip daddr 127.0.0.2 drop; }
  }`);
  await sleep(CUT_SECONDS * 1000);
  await lab.island.nft('delete table ip cut');
  t.diagnostic(`cut the agent of srv for ${CUT_SECONDS} s`);
  const seen = lab.reducer.log.length;
  await waitFor(
    () => (/committed window=\d+/.test(lab.reducer.log.slice(seen)) ? true : undefined),
    'the reducer to go on',
  );
}

async function waitUntilCommitted(reducer: Role): Promise<void> {
  const exported = [...reducer.log.matchAll(/closed window=(\d+)/g)].at(-1)?.[1];
  const goal = Number(exported ?? 0) + 3;
  await waitFor(
    () => (Number([...reducer.log.matchAll(/committed window=(\d+)/g)].at(-1)?.[1] ?? 0) >= goal ? true : undefined),
    `window ${goal} to be committed`,
  );
}

function match(log: string, pattern: RegExp): string {
  const found = log.match(pattern);
  assert.ok(found !== null, `the log names ${pattern}`);
  return found[1];
}
