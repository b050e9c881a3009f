// Agents are killed with SIGKILL and started again while real traffic runs: one after another, so that one end of every connection is always watched,
// and both at once.
// Sums and counts must be the truth, which the programs tell; no eBPF program may outlive its agent; the time that nobody looked is reported.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { listPrograms } from '@tributary/bpf';
import { requirePart } from '../parts/go-program.ts';
import { startOtelCollector } from '../parts/otelcol.ts';
import { assertNear, atPort, sumOf, sumsOf } from './edge-sums.ts';
import { Lab, listening } from './lab.ts';
import { Nginx } from './nginx.ts';
import { readSumPoints } from './otlp-sums.ts';
import { ShortConnections } from './short-connections.ts';
import { connect, Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const VICTIMS = ['cli', 'srv', 'cli', 'srv'] as const;
const BLIND_MS = 1_500;
/** Windows in which both ends are seen between two kills. */
const PEACEFUL_WINDOWS = 3;
/** Until an agent has noted that it looks: it does when it has told a window, which a busy machine delays. */
const NOTE_MS = 10_000;
const RATE = 50;
const BULK_BYTES_PER_MS = 10_000;
const [WEB_PORT, CLOSED_PORT, BULK_PORT] = [8080, 8099, 5201];

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
  const server = lab.network.host('srv');
  const nginx = new Nginx(lab, 'srv', WEB_PORT);
  await listening(server, WEB_PORT);
  const bulk = await Bulk.start(lab);
  const short = new ShortConnections(
    { host: 'cli', address: server.v4, port: WEB_PORT, closedPort: CLOSED_PORT, ratePerSecond: RATE },
    lab,
  );

  let blindMs = Object.fromEntries([...lab.agents].map(([name, agent]) => [name, [blindMsOf(agent.log)]]));
  for (const victim of VICTIMS) {
    await bulk.untilPeace();
    const saidMs = await killAndRestart(lab, victim, t);
    blindMs = { ...blindMs, [victim]: [...blindMs[victim], saidMs] };
    await bulk.untilActive();
  }
  const truth = { bulkBytes: await bulk.end(), short: await short.end() };
  assert.deepEqual(truth.short.other, {});
  const log = await nginx.logged(truth.short.connections);
  const answer = await lab.untilEdges('role_role', 'all connections to close', (found) => {
    const [web, stream] = [WEB_PORT, BULK_PORT].map((port) => sumsOf(atPort(found, port)));
    const areClosed = web.closed >= truth.short.connections && stream.closed >= 1;
    return areClosed && found.edges.every((edge) => edge.active === 0) ? found : undefined;
  });

  const [web, closed, stream] = [WEB_PORT, CLOSED_PORT, BULK_PORT].map((port) => sumsOf(atPort(answer, port)));
  t.diagnostic(JSON.stringify({ web, closed, stream, truth, log }));
  assert.equal(stream.forward, truth.bulkBytes);
  assertNear(web.forward, log.requestBytes, 'bytes of requests');
  assertNear(web.reverse, log.responseBytes, 'bytes of responses');
  assert.deepEqual(
    [web.connections, web.closed, stream.connections, stream.closed],
    [truth.short.connections, truth.short.connections, 1, 1],
    'what a dead agent held is taken over, not closed',
  );
  // A refused connect has one end only: that of the client, which was not watched for a while.
  assert.ok(closed.refused <= truth.short.refused && closed.refused > 0);

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
  const bulk = await Bulk.start(lab);
  await bulk.untilPeace();
  await Promise.all(['cli', 'srv'].map((victim) => kill(lab, victim)));
  await sleep(BLIND_MS);
  await Promise.all(['cli', 'srv'].map((victim) => lab.startAgent(victim).logged(/connected/)));
  await bulk.untilActive();
  const truth = await bulk.end();
  const edges = await lab.untilEdges('role_role', 'it to close', (answer) => {
    const found = atPort(answer, BULK_PORT);
    const { closed, active } = sumsOf(found);
    return closed > 0 && active === 0 ? found : undefined;
  });
  const { forward, connections, closed } = sumsOf(edges);
  assert.deepEqual({ forward, connections, closed }, { forward: truth, connections: 1, closed: 1 });
});

/** One connection that moves bytes all the time. */
class Bulk {
  readonly #lab: Lab;
  readonly #client: Sockets;
  readonly #server: Sockets;
  #stream = { client: 0, server: 0 };
  #drained = Promise.resolve(0);

  private constructor(lab: Lab) {
    this.#lab = lab;
    this.#client = new Sockets(lab, 'cli');
    this.#server = new Sockets(lab, 'srv');
  }

  static async start(lab: Lab): Promise<Bulk> {
    const bulk = new Bulk(lab);
    await bulk.#server.order('listen', BULK_PORT);
    bulk.#stream = await connect(bulk.#client, bulk.#server, lab.network.host('srv').v4, BULK_PORT);
    bulk.#drained = bulk.#server.order('receive', bulk.#stream.server, Number.MAX_SAFE_INTEGER);
    await bulk.#client.order('stream', bulk.#stream.client, BULK_BYTES_PER_MS);
    return bulk;
  }

  /** Both ends were seen in some more windows. */
  async untilPeace(): Promise<void> {
    const seen = (edges: Parameters<typeof sumOf>[0]): number => sumOf(edges, ({ match }) => match.both);
    const before = seen(atPort(await this.#lab.edges('role_role'), BULK_PORT));
    await this.#lab.untilEdges('role_role', 'windows that both agents told', (answer) =>
      seen(atPort(answer, BULK_PORT)) >= before + PEACEFUL_WINDOWS ? true : undefined,
    );
  }

  async untilActive(): Promise<void> {
    await this.#lab.untilEdges('role_role', 'the bulk connection to be active', (answer) =>
      sumsOf(atPort(answer, BULK_PORT)).active === 1 ? true : undefined,
    );
  }

  /** Closes it; the bytes that it moved. */
  async end(): Promise<number> {
    const total = await this.#client.order('rest', this.#stream.client);
    await this.#client.order('close', this.#stream.client);
    assert.equal(await this.#drained, total);
    await this.#server.order('close', this.#stream.server);
    return total;
  }
}

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
  const atMostMs = Date.now() - killedMs + NOTE_MS;
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

/** Nothing is said when it was no time. */
function blindMsOf(log: string): number {
  return Number(log.match(/"blindMs":(\d+)/)?.[1] ?? 0);
}
