// Agents are killed with SIGKILL and started again while real traffic runs: one after another, so that one end of every connection is always watched,
// and both at once.
// Sums and counts must be the truth, which the programs tell; no eBPF program may outlive its agent; the time that nobody looked is reported.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { listPrograms } from '@tributary/bpf';
import type { Edge, EdgesAnswer } from '../../host/api/edge-answer.ts';
import { requirePart } from '../parts/go-program.ts';
import { startOtelCollector } from '../parts/otelcol.ts';
import { Lab } from './lab.ts';
import { Nginx } from './nginx.ts';
import { readSumPoints } from './otlp-sums.ts';
import type { ShortConnectionsReport } from './short-connections.ts';
import { waitFor } from './wait.ts';

const VICTIMS = ['cli', 'srv', 'cli', 'srv'] as const;
const BLIND_MS = 1_500;
/** Both ends are watched for so long between two kills. */
const PEACE_MS = 4_000;
const SECONDS = 4 + VICTIMS.length * 8;
const RATE = 50;
const [WEB_PORT, CLOSED_PORT, BULK_PORT] = [8080, 8099, 5201];
const CLIENT = fileURLToPath(new URL('./short-connections.ts', import.meta.url));

const part = await requirePart('otelcol');

test('killing agents one after another changes no sum, leaves no program behind and is reported as blind', {
  skip: part.skip,
}, async (t) => {
  const lab = new Lab({
    hosts: ['cli', 'srv'],
    reducerEnvironment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta',
    },
  });
  t.after(() => lab.stop());
  const island = await lab.prepare();
  const collector = await startOtelCollector({
    directory: lab.directory,
    port: 4318,
    spawn: (program, args) => island.spawn(program, args),
  });
  t.after(() => collector.stop());
  await lab.begin();
  const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
  const nginx = new Nginx(lab, 'srv', WEB_PORT);
  lab.run('srv', 'iperf3', '-s', '-1', '-p', String(BULK_PORT));
  for (const port of [WEB_PORT, BULK_PORT])
    await waitFor(
      async () => ((await server.exec('ss', '-Hltn', `sport = :${port}`)) === '' ? undefined : true),
      `a listener on port ${port}`,
    );
  const bulk = client.exec(
    'iperf3',
    ...['-J', '-c', server.v4, '-p', String(BULK_PORT), '-t', String(SECONDS), '-b', '80M'],
  );
  const short = client.exec(
    process.execPath,
    ...[CLIENT, server.v4, String(WEB_PORT), String(CLOSED_PORT), String(RATE), String(SECONDS)],
  );

  let blindMs = Object.fromEntries([...lab.agents].map(([name, agent]) => [name, [blindMsOf(agent.log)]]));
  for (const victim of VICTIMS) {
    await sleep(PEACE_MS);
    const saidMs = await killAndRestart(lab, victim, t);
    blindMs = { ...blindMs, [victim]: [...blindMs[victim], saidMs] };
    await lab.untilEdges(
      'role_role',
      `the two connections of iperf3 to be active after the kill of ${victim}`,
      (answer) => (sum(atPort(answer, BULK_PORT), (edge) => edge.active) === 2 ? true : undefined),
    );
  }
  const truth = {
    bulkBytes: (JSON.parse(await bulk) as { end: { sum_received: { bytes: number } } }).end.sum_received.bytes,
    short: JSON.parse(await short) as ShortConnectionsReport,
  };
  assert.equal(truth.short.other, 0);
  const log = await nginx.logged(truth.short.connections);
  const answer = await lab.untilEdges('role_role', 'all connections to close', (found) =>
    found.edges.every((edge) => edge.active === 0) ? found : undefined,
  );

  const [web, refused, iperf] = [WEB_PORT, CLOSED_PORT, BULK_PORT].map((port) => atPort(answer, port));
  const told = {
    bulkBytes: sum(iperf, (edge) => edge.bytes.forward),
    connections: sum(web, (edge) => edge.connections),
    requestBytes: sum(web, (edge) => edge.bytes.forward),
    responseBytes: sum(web, (edge) => edge.bytes.reverse),
    refused: sum(refused, (edge) => edge.failures.refused),
  };
  t.diagnostic(JSON.stringify({ told, truth, log }));
  assertWithin(told.bulkBytes, truth.bulkBytes);
  assertWithin(told.requestBytes, log.requestBytes);
  assertWithin(told.responseBytes, log.responseBytes);
  assert.equal(told.connections, truth.short.connections);
  assert.equal(
    sum(iperf, (edge) => edge.connections),
    2,
  );
  assert.equal(
    sum(iperf, (edge) => edge.closed),
    2,
    'what a dead agent held is taken over, not closed',
  );
  assert.equal(
    sum(web, (edge) => edge.closed),
    truth.short.connections,
  );
  // A refused connect has one end only: that of the client, which was not watched for a while.
  assert.ok(told.refused <= truth.short.refused && told.refused > truth.short.refused / 2);

  const blindS =
    Object.values(blindMs)
      .flat()
      .reduce((total, ms) => total + ms, 0) / 1000;
  await waitFor(
    () => {
      // What the reducer says of itself is cumulative.
      const points = readSumPoints(collector.file).filter(({ metric }) => metric === 'tributary.agent.blind.duration');
      const exportedS = points.at(-1)?.value ?? 0;
      return Math.abs(exportedS - blindS) < 0.01 ? true : undefined;
    },
    `tributary.agent.blind.duration of ${blindS} s, as the agents said`,
    { detail: () => JSON.stringify(blindMs) },
  );
});

test('what passes while both agents are dead is booked when they are back', async (t) => {
  const lab = new Lab({ hosts: ['cli', 'srv'] });
  t.after(() => lab.stop());
  await lab.start();
  const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
  lab.run('srv', 'iperf3', '-s', '-1', '-p', String(BULK_PORT));
  await waitFor(
    async () => ((await server.exec('ss', '-Hltn', `sport = :${BULK_PORT}`)) === '' ? undefined : true),
    'iperf3 to listen',
  );
  const bulk = client.exec('iperf3', ...['-J', '-c', server.v4, '-p', String(BULK_PORT), '-t', '14', '-b', '80M']);
  await sleep(PEACE_MS);
  await Promise.all(['cli', 'srv'].map((victim) => kill(lab, victim)));
  await sleep(BLIND_MS);
  await Promise.all(['cli', 'srv'].map((victim) => lab.startAgent(victim).logged(/connected/)));
  await lab.untilEdges('role_role', 'the two connections of iperf3 to be active again', (answer) =>
    sum(atPort(answer, BULK_PORT), (edge) => edge.active) === 2 ? true : undefined,
  );
  const truth = (JSON.parse(await bulk) as { end: { sum_received: { bytes: number } } }).end.sum_received.bytes;
  const edges = await lab.untilEdges('role_role', 'them to close', (answer) => {
    const found = atPort(answer, BULK_PORT);
    return found.length > 0 && sum(found, (edge) => edge.active) === 0 ? found : undefined;
  });
  const told = sum(edges, (edge) => edge.bytes.forward);
  t.diagnostic(`${told} bytes told, ${truth} received by iperf3`);
  assertWithin(told, truth);
  assert.deepEqual([sum(edges, (edge) => edge.connections), sum(edges, (edge) => edge.closed)], [2, 2]);
});

/** Returns when the agent and its programs are gone. */
async function kill(lab: Lab, victim: string): Promise<void> {
  const agent = lab.agents.get(victim);
  const { pid } = agent?.process ?? {};
  if (agent === undefined || pid === undefined) throw new Error(`no agent of ${victim}`);
  const programs = programsOf(pid);
  assert.ok(programs.size > 0, 'the agent holds eBPF programs');
  await agent.kill('SIGKILL');
  // The kernel frees what a process held a moment after it is gone.
  await waitFor(
    () => (listPrograms().some(({ id }) => programs.has(id)) ? undefined : true),
    `the ${programs.size} programs of the killed agent to be gone`,
    { timeoutMs: 5_000 },
  );
}

/** Returns for how long the new agent says that nobody looked, milliseconds. */
async function killAndRestart(lab: Lab, victim: string, t: TestContext): Promise<number> {
  const killedMs = Date.now();
  await kill(lab, victim);
  await sleep(BLIND_MS);
  const next = lab.startAgent(victim);
  await next.logged(/connected/);
  const blindMs = blindMsOf(next.log);
  const atMostMs = Date.now() - killedMs + 2 * lab.windowSeconds * 1000;
  t.diagnostic(`killed the agent of ${victim}; blind for ${blindMs} ms`);
  assert.ok(blindMs >= BLIND_MS && blindMs <= atMostMs, `${blindMs} ms, between ${BLIND_MS} and ${atMostMs}`);
  return blindMs;
}

/** Numbers of the eBPF programs that a process holds. */
function programsOf(pid: number): Set<number> {
  const folder = `/proc/${pid}/fdinfo`;
  const texts = readdirSync(folder).map((descriptor) => readFileSync(`${folder}/${descriptor}`, 'utf8'));
  return new Set(texts.flatMap((text) => text.match(/^prog_id:\t(\d+)/m)?.[1] ?? []).map(Number));
}

function blindMsOf(log: string): number {
  return Number(log.match(/"blindMs":(\d+)/)?.[1]);
}

function atPort(answer: EdgesAnswer, port: number): Edge[] {
  return answer.edges.filter((edge) => edge.serverPort === port);
}

function sum(edges: Edge[], value: (edge: Edge) => number): number {
  return edges.reduce((total, edge) => total + value(edge), 0);
}

function assertWithin(actual: number, truth: number): void {
  assert.ok(Math.abs(actual - truth) <= truth * 0.001, `${actual} differs from ${truth} by more than 0.1 %`);
}
