// An agent that stands still while its host does not: its ring buffer fills up and stays full for ten seconds. Truth is what the programs moved, nginx's
// log and the kernel's own counters of the namespace.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SOCKET_EVENT_SIZE } from '../../host/wire/gen/kernel-events-layout.ts';
import { assertActive } from './active.ts';
import { type AgentState, lostIn, readState } from './agent-state.ts';
import { atPort, closedAtBothEnds, joinedEdge, sumsOf } from './edge-sums.ts';
import { Lab, listening } from './lab.ts';
import type { LabHost } from './network.ts';
import { Nginx } from './nginx.ts';
import { readCounter } from './protocol-counters.ts';
import { describeSamples, type Sample, scrape, sumOf as sumOfSamples } from './scrape.ts';
import { ShortConnections } from './short-connections.ts';
import { connect, Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const FULL_SECONDS = 10;
const RATE = 200;
const REFUSED = 100;
const REQUESTS = 2000;
/** What finds no room in a full ring and cannot wait elsewhere: the next owner of a socket that was told, and DNS messages. */
const [PASSED, QUERIES] = [2, 40];
const METRICS_PORT = 9464;
const [WEB_PORT, CLOSED_PORT, LONG_PORT, NEXT_PORT] = [8080, 8099, 7000, 7001];
/** A socket's event with the header of its record. */
const RECORD_BYTES = SOCKET_EVENT_SIZE + 8;
const EVENTS_LOST = 'tributary_events_lost_total';

test(`while the ring is full for ${FULL_SECONDS} s what finds no room is counted, and no byte is lost; the next window is whole`, async (t) => {
  const lab = new Lab({ hosts: ['cli', 'srv'], reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`] });
  t.after(() => lab.stop());
  await lab.start();
  const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
  const nginx = new Nginx(lab, 'srv', WEB_PORT);
  await listening(server, WEB_PORT);
  const long = new LongConnections(lab);
  await long.listen();
  for (let count = 0; count < 4; count++) await long.open();
  const agent = lab.agents.get('srv') ?? assert.fail();
  // So that the connections are told as open.
  const before = await untilTold(lab, 'srv', (await readState(agent)).windows.told + 1);

  agent.process.kill('SIGSTOP');
  t.after(() => agent.process.kill('SIGCONT'));
  // A connect that fails is one record.
  const filling = Math.ceil(before.kernel.ringBytes / RECORD_BYTES);
  await server.exec('python3', '-c', refusedProgram(filling));
  // From here on the ring is full.
  await long.close(0);
  await long.open();
  for (let count = 0; count < PASSED; count++) await long.pass(count);
  await server.exec('python3', '-c', queryProgram(client.v4));
  await requestMany(client, server, REQUESTS);
  const steady = new ShortConnections(
    { host: 'cli', address: server.v4, port: WEB_PORT, closedPort: CLOSED_PORT, ratePerSecond: RATE },
    lab,
  );
  for (let second = 0; second < FULL_SECONDS; second++) {
    await sleep(1000);
    await long.move();
  }
  const refused = await server.attempt('curl', '-s', `http://${client.v4}:${CLOSED_PORT}/[1-${REFUSED}]`);
  assert.equal(refused.code, 7, 'curl: failed to connect to host');
  const done = await steady.end();
  assert.deepEqual(done.other, {});
  await long.close(1);
  agent.process.kill('SIGCONT');

  // The first window that it tells has all that was missing: from now on nothing is. (It had told none of these seconds before.)
  const after = await untilTold(lab, 'srv', before.windows.told + FULL_SECONDS);
  assert.equal(Number(after.core.socketsLive), long.held);
  const lostThen = lostIn(after);
  await assertActive(lab);
  await assertNextConnections(lab);
  await long.move();
  await long.closeAll();
  const requests = REQUESTS + done.connections;

  const log = await nginx.logged(requests);
  const web = sumsOf(await lab.untilEdges('id_id', 'every request', closedAtBothEnds(WEB_PORT, requests)));
  assert.deepEqual(
    { connections: web.connections, closed: web.closed, forward: web.forward, reverse: web.reverse },
    { connections: requests, closed: requests, forward: log.requestBytes, reverse: log.responseBytes },
  );
  assert.equal(web.residualBytes, 0);
  const kept = sumsOf(await lab.untilEdges('id_id', 'the long ones', closedAtBothEnds(LONG_PORT, long.opened)));
  assert.deepEqual(
    { connections: kept.connections, forward: kept.forward, reverse: kept.reverse, residualBytes: kept.residualBytes },
    { connections: long.opened, forward: long.sent, reverse: long.answered, residualBytes: 0 },
  );
  await assertRefused(lab, { byClient: done.refused, byServer: filling + REFUSED });
  const last = await readState(agent);
  assert.equal(lostIn(last), lostThen, 'nothing more is lost');
  const accepted = requests + long.opened + NEXT_CONNECTIONS;
  assertCounted(last, { accepted, refused: filling + REFUSED, whileFull: requests + REFUSED, t });
  assert.equal(await readCounter(server, 'Tcp', 'PassiveOpens'), accepted, 'as many as the kernel accepted');
  await assertExported(lab);
});

const NEXT_CONNECTIONS = 30;
const NEXT_BYTES = 1234;

/** Connections that move a little in each direction now and then. */
class LongConnections {
  readonly #near: Sockets;
  readonly #far: Sockets;
  readonly #address: string;
  #held: { client: number; server: number }[] = [];
  opened = 0;
  /** Bytes of the clients, and of the server. */
  sent = 0;
  answered = 0;

  constructor(lab: Lab) {
    this.#near = new Sockets(lab, 'cli');
    this.#far = new Sockets(lab, 'srv');
    this.#address = lab.network.host('srv').v4;
  }

  get held(): number {
    return this.#held.length;
  }

  async listen(): Promise<void> {
    await this.#far.order('listen', LONG_PORT);
  }

  async open(): Promise<void> {
    this.#held.push(await connect(this.#near, this.#far, this.#address, LONG_PORT));
    this.opened++;
    await this.move();
  }

  async move(): Promise<void> {
    for (const { client, server } of this.#held) {
      const [bytes, answer] = [1000 + this.opened, 3000 + this.opened];
      await exchange(this.#near, this.#far, { client, server }, [bytes, answer]);
      this.sent += bytes;
      this.answered += answer;
    }
  }

  /** The server hands the connection to a process of its own. */
  async pass(index: number): Promise<void> {
    await this.#far.order('pass', this.#held[index].server);
    await this.move();
  }

  async close(index: number): Promise<void> {
    const [{ client, server }] = this.#held.splice(index, 1);
    await this.#near.order('close', client);
    await this.#far.order('close', server);
  }

  async closeAll(): Promise<void> {
    while (this.#held.length > 0) await this.close(0);
  }
}

async function exchange(
  near: Sockets,
  far: Sockets,
  { client, server }: { client: number; server: number },
  [forward, reverse]: readonly [number, number],
): Promise<void> {
  await near.order('send', client, forward);
  assert.equal(await far.order('receive', server, forward), forward);
  await far.order('send', server, reverse);
  assert.equal(await near.order('receive', client, reverse), reverse);
}

/** Until the agent of the host has told this window, or a later one. */
async function untilTold(lab: Lab, host: string, window: number): Promise<AgentState> {
  const agent = lab.agents.get(host) ?? assert.fail();
  return waitFor(
    async () => {
      const state = await readState(agent);
      return state.windows.told >= window ? state : undefined;
    },
    `the agent of ${host} to tell window ${window}`,
    { detail: () => agent.log.slice(-4000) },
  );
}

/** A connection for each request. */
async function requestMany(client: LabHost, server: LabHost, count: number): Promise<void> {
  const url = `http://${server.v4}:${WEB_PORT}/[1-${count}]`;
  await client.exec(
    'curl',
    ...['-sS', '--fail', '--parallel', '--parallel-max', '20', '-H', 'Connection: close', '-o', '/dev/null', url],
  );
}

/** Connects within the host, to a port where nobody listens. */
function refusedProgram(count: number): string {
  return `import socket
for _ in range(${count}): socket.socket().connect_ex(("127.0.0.1", ${CLOSED_PORT}))`;
}

/** DNS queries that nobody answers. */
function queryProgram(address: string): string {
  return `import socket, struct
s = socket.socket(type=socket.SOCK_DGRAM)
for id in range(${QUERIES}):
    header = struct.pack(">6H", id, 0x0100, 1, 0, 0, 0)
    s.sendto(header + b"\\7example\\0" + struct.pack(">2H", 1, 1), ("${address}", 53))`;
}

/** Ends wait elsewhere, and openings where they are, for the walk or for the end. What else came is lost, and counted. */
function assertCounted(
  { kernel }: AgentState,
  { accepted, refused, whileFull, t }: { accepted: number; refused: number; whileFull: number; t: TestContext },
): void {
  const { eventsLost, endsDeferred, eventsDrained } = kernel;
  t.diagnostic(JSON.stringify({ accepted, refused, whileFull, eventsLost, endsDeferred, eventsDrained }));
  assert.ok(endsDeferred >= whileFull, 'the ring was full');
  const { socketOwner, dnsMessage, ...others } = eventsLost;
  assert.deepEqual({ socketOwner, dnsMessage }, { socketOwner: PASSED, dnsMessage: QUERIES });
  assert.deepEqual(new Set(Object.values(others)), new Set([0]));
  // Each end came by one of two ways; what else came by the ring are openings.
  const openings = eventsDrained + endsDeferred - accepted - refused;
  assert.ok(openings >= 0 && openings <= accepted, `${openings} openings`);
}

/** Connections that are opened after the agent went on, both ends of which are seen. */
async function assertNextConnections(lab: Lab): Promise<void> {
  const [near, far] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
  await far.order('listen', NEXT_PORT);
  for (let count = 0; count < NEXT_CONNECTIONS; count++) {
    const connected = await connect(near, far, lab.network.host('srv').v4, NEXT_PORT);
    await exchange(near, far, connected, [NEXT_BYTES, 2 * NEXT_BYTES]);
    await near.order('close', connected.client);
    await far.order('close', connected.server);
  }
  const edges = await lab.untilEdges('id_id', 'the next ones', closedAtBothEnds(NEXT_PORT, NEXT_CONNECTIONS));
  const { connections, forward, reverse, residualBytes, judgedBytes } = sumsOf(edges);
  const total = NEXT_CONNECTIONS * NEXT_BYTES;
  assert.deepEqual(
    { connections, forward, reverse, residualBytes, judgedBytes },
    { connections: NEXT_CONNECTIONS, forward: total, reverse: 2 * total, residualBytes: 0, judgedBytes: 3 * total },
  );
  assert.deepEqual(joinedEdge(edges).server.host, 'srv');
}

async function assertRefused(lab: Lab, expected: { byClient: number; byServer: number }): Promise<void> {
  const of = (answer: Awaited<ReturnType<Lab['edges']>>, host: string): number =>
    sumsOf(atPort(answer, CLOSED_PORT).filter((edge) => edge.client.host === host)).refused;
  await lab.untilEdges('id_id', `refused connects ${JSON.stringify(expected)}`, (answer) =>
    of(answer, 'cli') === expected.byClient && of(answer, 'srv') === expected.byServer ? true : undefined,
  );
}

/** What the agents counted is what a scrape shows. Beside it only the windows are coarser in which nobody told. */
async function assertExported(lab: Lab): Promise<void> {
  const states = await Promise.all([...lab.agents.values()].map(readState));
  const expected = states.reduce((sum, state) => sum + lostIn(state), 0);
  let samples: Sample[] = [];
  const ringFull = { tributary_stage: 'kernel', tributary_reason: 'ring_full' };
  await waitFor(
    async () => {
      samples = await scrape(lab.island, METRICS_PORT);
      return sumOfSamples(samples, EVENTS_LOST, ringFull) === expected || undefined;
    },
    `a loss of ${expected}, which the agents counted, to be exported`,
    { detail: () => describeSamples(samples, /^tributary_events_lost/) },
  );
  const coarser = sumOfSamples(samples, EVENTS_LOST, { tributary_reason: 'windows_coalesced' });
  assert.equal(sumOfSamples(samples, EVENTS_LOST), expected + coarser);
}
