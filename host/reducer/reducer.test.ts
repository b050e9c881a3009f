import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { pino } from 'pino';
import { type EdgeRow, mergeRows, sortedRows } from '../export/edge-rows.ts';
import { decodeWindow } from '../export/window-rows.ts';
import { type Clock, startClock } from '../lib/clock.ts';
import { encodeFrame } from '../wire/frame.ts';
import { Level } from '../wire/gen/records-layout.ts';
import { FrameKind } from '../wire/gen/wire-layout.ts';
import { encodeHello } from '../wire/gen/wire-tables.ts';
import type { ListenAddress } from '../wire/transport/address.ts';
import type { ClosedWindow } from './closed-window.ts';
import { Reducer } from './reducer.ts';
import { compileReducer } from './reducer-module.ts';
import { addStageCounters } from './stage-counters.ts';
import { ScriptedAgent } from './testing/scripted-agent.ts';
import { announce, hello, opens, ROLE_CLIENT, ROLE_SERVER, socket, totals, updates } from './testing/told.ts';
import { sumWireTotals } from './wire-totals.ts';

/** Short, so that tests are; numbers of such windows since 1970 would not fit 32 bits, so time begins in 1970. */
const WINDOW_NS = 200_000_000n;
/** Longer than a busy machine delays one of the agents: these tests are about complete windows. */
const LATENESS_NS = 2_000_000_000n;
const realClock = startClock();
const originNs = realClock().unixNs - 1_000_000_000_000n;
const clock: Clock = () => {
  const { ms, unixNs } = realClock();
  return { ms, unixNs: unixNs - originNs };
};
const [CLIENT_ADDRESS, SERVER_ADDRESS] = ['10.0.0.1', '10.0.0.2'];
const CONNECTIONS = 20;
/** Far more than anything here takes on a busy machine. */
const PATIENCE_MS = 60_000;

class RunningReducer {
  readonly closed: ClosedWindow[] = [];
  readonly reducer: Reducer;
  failure: Error | undefined;
  /** Windows are exported as soon as they are closed. */
  isExporting = true;

  constructor(workers: number, listen: ListenAddress = { host: '127.0.0.1', port: 0 }) {
    const options = { listen: [listen], insecure: false, workers, windowNs: WINDOW_NS, latenessNs: LATENESS_NS };
    this.reducer = new Reducer(options, {
      log: pino({ level: process.env.LOG_LEVEL ?? 'silent' }),
      clock,
      random64: () => randomBytes(8).readBigUInt64LE(),
      closeWindow: (closed) => {
        this.closed.push(closed);
        if (this.isExporting) this.reducer.exported(closed.window);
      },
      fail: (error) => {
        this.failure = error;
      },
    });
  }

  /** Waits for `condition`; when it does not come true, the counters say how far things got. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const deadlineMs = performance.now() + PATIENCE_MS;
    while (!condition()) {
      if (performance.now() >= deadlineMs)
        assert.fail(`not within ${PATIENCE_MS} ms: ${what}\n${await this.#describe()}`);
      await sleep(10);
    }
  }

  async #describe(): Promise<string> {
    const readings = this.failure === undefined ? await this.reducer.readCounters() : [];
    const { counts, refused } = addStageCounters(readings.map(({ stages }) => stages));
    const moved = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
    const { openWindow, windows } = this.reducer;
    return inspect({
      openWindow,
      windows,
      moved,
      refused,
      workers: readings.map((each) => each.counts),
      rows: this.rows(Level.IdId),
      failure: this.failure,
    });
  }

  /** Sums over all closed windows, `active` of the last. */
  rows(level: Level): EdgeRow[] {
    const rows = new Map();
    for (const { outputs } of this.closed) {
      for (const row of rows.values()) row.active = 0;
      mergeRows(rows, decodeWindow(outputs, new Set([level])).values());
    }
    return sortedRows(rows);
  }
}

async function startReducer(context: TestContext, workers: number, listen?: ListenAddress): Promise<RunningReducer> {
  const running = new RunningReducer(workers, listen);
  await running.reducer.start();
  context.after(async () => {
    await running.reducer.settle();
    await running.reducer.stop();
  });
  return running;
}

/** Both ends of connections 1 … CONNECTIONS, which move in three windows. */
function startAgents(context: TestContext, address: ListenAddress): ScriptedAgent[] {
  const ports = Array.from({ length: CONNECTIONS }, (_, index) => index + 1);
  const end = (role: number, [local, remote]: string[], comm: string, sent: number, received: number) => {
    const isClient = role === ROLE_CLIENT;
    const sockets = ports.map((port) =>
      socket({
        ...{ handle: port, joinKey: BigInt(port) * 0x9e37_79b9_7f4a_7c15n, role, local, remote },
        ...{ localPort: isClient ? 40_000 + port : 80, remotePort: isClient ? 80 : 40_000 + port },
      }),
    );
    const moved = (windows: number) =>
      updates(
        ports.map((port) => ({ handle: port, totals: totals(sent * windows * port, received * windows * port) })),
      );
    return { snapshot: announce(comm, local), script: [[opens(sockets), moved(1)], [moved(2)], [moved(3)]] };
  };
  const client = end(ROLE_CLIENT, [CLIENT_ADDRESS, SERVER_ADDRESS], 'curl', 100, 5_000);
  const server = end(ROLE_SERVER, [SERVER_ADDRESS, CLIENT_ADDRESS], 'nginx', 5_000, 100);
  // Both ends move in the same windows, so that one edge has them: a busy machine may welcome one agent long before the other.
  let first: number | undefined;
  const begin = (): number | undefined => {
    const told = agents.map(({ toldWindow }) => toldWindow);
    if (told.every((window) => window !== undefined)) first ??= Math.max(...told) + 2;
    return first;
  };
  const common = { address, clock, windowNs: WINDOW_NS, begin };
  const agents: ScriptedAgent[] = [
    new ScriptedAgent({ ...common, name: 'client', session: 11n, ...client }),
    new ScriptedAgent({ ...common, name: 'server', session: 22n, ...server }),
  ];
  for (const agent of agents) {
    agent.start();
    context.after(() => agent.stop());
  }
  return agents;
}

const SUM_OF_PORTS = (CONNECTIONS * (CONNECTIONS + 1)) / 2;

function assertTruth(rows: EdgeRow[]): void {
  assert.equal(rows.length, 1);
  const [{ sums, active, serverPort }] = rows;
  assert.equal(sums.forwardBytes, 3 * 100 * SUM_OF_PORTS);
  assert.equal(sums.reverseBytes, 3 * 5_000 * SUM_OF_PORTS);
  assert.equal(sums.connections, CONNECTIONS);
  assert.equal(active, CONNECTIONS);
  assert.equal(serverPort, 80);
}

for (const workers of [1, 2, 3]) {
  test(`two agents over TCP and a reducer of ${workers} workers make one exact edge`, {
    timeout: 240_000,
  }, async (context) => {
    const running = await startReducer(context, workers);
    const agents = startAgents(context, running.reducer.addresses[0]);
    await running.until(
      () => running.rows(Level.IdId)[0]?.sums.reverseBytes === 3 * 5_000 * SUM_OF_PORTS,
      'all bytes in closed windows',
    );
    for (const level of [Level.IdId, Level.AzAz, Level.RoleRole]) assertTruth(running.rows(level));
    const last = running.closed.at(-1)?.window ?? 0;
    await running.until(() => agents.every((agent) => agent.committedWindow >= last), 'commits');
    await Promise.all(agents.map((agent) => agent.stop()));
    await running.until(() => running.rows(Level.IdId)[0].active === 0, 'no active flow after the agents have left');
    assertTruth(running.rows(Level.IdId).map((row) => ({ ...row, active: CONNECTIONS })));
    assert.deepEqual(
      agents.flatMap((agent) => agent.losses),
      [],
    );
    assert.equal(running.failure, undefined);
  });
}

/** A middleman whose connections can be cut. */
class Middleman {
  readonly #server = createServer((client) => this.#join(client));
  readonly #sockets = new Set<Socket>();
  readonly #port: number;

  private constructor(port: number) {
    this.#port = port;
  }

  static async start(
    context: TestContext,
    to: ListenAddress,
  ): Promise<{ middleman: Middleman; address: ListenAddress }> {
    assert.ok('port' in to);
    const middleman = new Middleman(to.port);
    middleman.#server.listen(0, '127.0.0.1');
    await once(middleman.#server, 'listening');
    context.after(() => {
      middleman.#server.close();
      middleman.cut();
    });
    const bound = middleman.#server.address();
    assert.ok(bound !== null && typeof bound === 'object');
    return { middleman, address: { host: bound.address, port: bound.port } };
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  #join(client: Socket): void {
    const server = createConnection(this.#port, '127.0.0.1');
    for (const [from, to] of [
      [client, server],
      [server, client],
    ]) {
      this.#sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
      from.pipe(to);
    }
  }
}

test('agents that are cut off resume, also over a worker that does not have their session', {
  timeout: 240_000,
}, async (context) => {
  const running = await startReducer(context, 2);
  const { middleman, address } = await Middleman.start(context, running.reducer.addresses[0]);
  const agents = startAgents(context, address);
  for (let cuts = 1; cuts <= 6; cuts++) {
    await running.until(() => agents.every((agent) => agent.snapshots + agent.resumes >= cuts), `connection ${cuts}`);
    await sleep(cuts * 40);
    middleman.cut();
  }
  await running.until(() => running.rows(Level.IdId)[0]?.sums.reverseBytes === 3 * 5_000 * SUM_OF_PORTS, 'all bytes');
  assertTruth(running.rows(Level.IdId));
  const last = running.closed.at(-1)?.window ?? 0;
  await running.until(() => agents.every((agent) => agent.committedWindow >= last), 'commits');
  assert.deepEqual(
    agents.map((agent) => agent.snapshots),
    [1, 1],
  );
  const readings = await running.reducer.readCounters();
  assert.deepEqual(
    readings.map(({ counts }) => counts.sessions),
    [1, 1],
    'the sessions are spread over the workers',
  );
});

test('an agent that hangs up before its Hello is answered is not taken for a connected one', {
  timeout: 240_000,
}, async (context) => {
  const running = await startReducer(context, 1);
  const [address] = running.reducer.addresses;
  assert.ok('port' in address);
  const name = 'client';
  const first = createConnection(address.port, address.host).on('error', () => {});
  const payload = encodeHello(hello(name, 1n, { windowNs: WINDOW_NS }));
  first.end(encodeFrame({ kind: FrameKind.Hello, seq: 0, payload }));
  await once(first.resume(), 'close');
  while ((await running.reducer.readCounters())[0].counts.sessions === 0) await sleep(10);
  assert.equal((await running.reducer.readCounters())[0].counts.connections, 0);
  const options = { address, clock, name, session: 2n, windowNs: WINDOW_NS, snapshot: [], script: [] };
  const second = new ScriptedAgent(options);
  second.start();
  context.after(() => second.stop());
  await running.until(() => second.snapshots > 0, 'the next process of the agent to be welcome');
  assert.deepEqual(second.goodbyes, []);
});

test('what the channels refuse is counted by reason, also after the connection has ended', {
  timeout: 240_000,
}, async (context) => {
  const running = await startReducer(context, 2);
  const [address] = running.reducer.addresses;
  assert.ok('port' in address);
  for (const bytes of [Buffer.alloc(64, 0xff), Buffer.alloc(16)]) {
    const socket = createConnection(address.port, address.host);
    socket.end(bytes).resume();
    await once(socket, 'close');
  }
  const { refused } = sumWireTotals((await running.reducer.readCounters()).map(({ wire }) => wire));
  assert.deepEqual(refused, { flags: 1, kind: 1 });
});

test('an agent that lies too much is shown out, and the others stay exact', { timeout: 240_000 }, async (context) => {
  const running = await startReducer(context, 2);
  const [address] = running.reducer.addresses;
  const agents = startAgents(context, address);
  const nonsense = { kind: FrameKind.Open, payload: new Uint8Array(64).fill(7) };
  const script = [new Array(1_100).fill(nonsense)];
  const liar = new ScriptedAgent({
    address,
    clock,
    name: 'liar',
    session: 66n,
    windowNs: WINDOW_NS,
    snapshot: [],
    script,
  });
  liar.start();
  context.after(() => liar.stop());
  await running.until(() => liar.goodbyes.length > 1, 'the liar is refused again');
  assert.deepEqual(new Set(liar.goodbyes), new Set(['Quarantined']));
  await running.until(() => running.rows(Level.IdId)[0]?.sums.reverseBytes === 3 * 5_000 * SUM_OF_PORTS, 'all bytes');
  assertTruth(running.rows(Level.IdId));
  assert.deepEqual(
    agents.flatMap(({ losses }) => losses),
    [],
  );
  const { counts, refused } = addStageCounters((await running.reducer.readCounters()).map(({ stages }) => stages));
  assert.equal(counts.FramesAccepted + counts.FramesRefused, counts.FramesGiven);
  assert.deepEqual(refused, { Structure: 1_001 });
  assert.equal(counts.SessionsLive, 2);
});

test('nothing is committed before it is exported, and then everything is', { timeout: 240_000 }, async (context) => {
  const running = await startReducer(context, 2);
  running.isExporting = false;
  const agents = startAgents(context, running.reducer.addresses[0]);
  await running.until(() => running.rows(Level.IdId)[0]?.sums.reverseBytes === 3 * 5_000 * SUM_OF_PORTS, 'all bytes');
  assert.deepEqual(
    agents.map((agent) => agent.committedWindow),
    [0, 0],
  );
  const last = running.closed.at(-1)?.window ?? 0;
  running.reducer.exported(last);
  await running.until(
    () => agents.every((agent) => agent.committedWindow === last),
    'commits up to the exported window',
  );
});

test('agents on a unix socket are spread over the workers', { timeout: 240_000 }, async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-reducer-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const running = await startReducer(context, 2, { path: join(folder, 'agents.sock') });
  startAgents(context, running.reducer.addresses[0]);
  await running.until(() => running.rows(Level.IdId)[0]?.sums.reverseBytes === 3 * 5_000 * SUM_OF_PORTS, 'all bytes');
  assertTruth(running.rows(Level.AzAz));
  const readings = await running.reducer.readCounters();
  assert.deepEqual(
    readings.map(({ counts }) => counts.sessions),
    [1, 1],
  );
});

/** Of a processor that this process uses in the next two seconds. */
async function shareOfSpan(): Promise<number> {
  const [before, beforeMs] = [process.cpuUsage(), performance.now()];
  await sleep(2_000);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / (performance.now() - beforeMs);
}

test('a reducer without agents uses next to no processor time', { timeout: 240_000 }, async (context) => {
  await startReducer(context, 2);
  // The first spans have the start in them, more of them on a busy machine. One quiet span may be chance, most of three more are not.
  const QUIET = 0.15;
  const shares: number[] = [];
  for (let span = 0; span < 20 && !shares.some((share) => share < QUIET); span++) shares.push(await shareOfSpan());
  const next = [await shareOfSpan(), await shareOfSpan(), await shareOfSpan()];
  const inPercent = [...shares, ...next].map((share) => (share * 100).toFixed(1)).join(', ');
  context.diagnostic(`${inPercent} % of a processor in spans of 2 s, windows of 200 ms`);
  assert.ok(Math.min(...shares) < QUIET, inPercent);
  assert.ok(next.filter((share) => share < QUIET).length >= 2, inPercent);
});

test('a port that is taken is an error, and nothing stays behind', { timeout: 240_000 }, async (context) => {
  const running = await startReducer(context, 2);
  const second = new RunningReducer(2, running.reducer.addresses[0]);
  await assert.rejects(second.reducer.start(), { code: 'TRB_LISTEN_IN_USE' });
});

test('a missing module is an error that says how it is made', async () => {
  await assert.rejects(compileReducer('/nowhere/reducer.wasm'), /nowhere.*npm run build:wasm/);
});
