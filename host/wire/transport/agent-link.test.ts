// The channel over real sockets: a reducer's end in a few lines, and a relay between the two that cuts connections at any byte.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startClock } from '../../lib/clock.ts';
import { seededRandom } from '../../lib/random.ts';
import { FrameDecoder } from '../frame-decoder.ts';
import { FrameKind, GoodbyeReason } from '../gen/wire-layout.ts';
import type { Hello } from '../gen/wire-tables.ts';
import { type ReducerAction, ReducerChannel } from '../reducer-channel.ts';
import { ReducerSession } from '../reducer-session.ts';
import { SessionRegistry } from '../session-registry.ts';
import type { ListenAddress } from './address.ts';
import { AgentLink, type AgentNews } from './agent-link.ts';
import type { Connection, ConnectionEvents } from './connection.ts';
import { Listener } from './tcp.ts';

const clock = startClock();
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

/** Consumes all that it gets; notes the numbers that data frames carry. */
class ReducerEnd {
  readonly numbers: number[] = [];
  readonly sessions = new Map<bigint, ReducerSession>();
  goodbyeReason: number | undefined;
  readonly #registry = new SessionRegistry({ incarnation: 5n, sessionCountMax: 10, silenceMs: 25_000 });
  readonly #listener: Listener;
  #nextId = 1;
  #connections = new Map<number, { channel: ReducerChannel; connection: Connection; session?: ReducerSession }>();
  #ticker: NodeJS.Timeout | undefined;

  constructor(address: ListenAddress) {
    const accept = (connection: Connection): ConnectionEvents => this.#accept(connection);
    this.#listener = new Listener(
      { address, insecure: false },
      { accept, refused: ({ refusal }) => assert.fail(refusal) },
    );
  }

  get address(): ListenAddress {
    return this.#listener.address;
  }

  async start(): Promise<void> {
    await this.#listener.start();
    this.#ticker = setInterval(() => {
      for (const [id, { channel }] of this.#connections) this.#perform(id, channel.tick(clock()));
    }, 100);
  }

  async stop(): Promise<void> {
    clearInterval(this.#ticker);
    for (const [id, { channel }] of this.#connections)
      this.#perform(id, channel.goodbye(GoodbyeReason.ReducerStopping));
    await this.#listener.stop();
  }

  #accept(connection: Connection): ConnectionEvents {
    const id = this.#nextId++;
    const channel = new ReducerChannel(clock());
    this.#connections.set(id, { channel, connection });
    return {
      bytes: (piece) => this.#perform(id, channel.bytes(piece, clock())),
      drained: () => this.#perform(id, channel.drained(clock())),
      closed: () => this.#perform(id, channel.disconnected()),
    };
  }

  #perform(id: number, actions: readonly ReducerAction[]): void {
    const entry = this.#connections.get(id);
    if (entry === undefined) return;
    for (const action of actions) {
      if (action.kind === 'send' && !entry.connection.send(action.bytes)) entry.channel.blocked(clock());
      else if (action.kind === 'hello') this.#admit(id, action.hello);
      else if (action.kind === 'frames') this.#consume(id);
      else if (action.kind === 'close') {
        this.#connections.delete(id);
        entry.connection.close();
        if (entry.session !== undefined) this.#registry.left(entry.session.hello.session, id, clock().ms);
      }
    }
  }

  #admit(id: number, hello: Hello): void {
    const entry = this.#connections.get(id);
    const admission = this.#registry.arrive(hello, { connection: id, place: 0 }, clock().ms);
    assert.ok(entry !== undefined && admission.kind !== 'refuse');
    const old = admission.replaces === undefined ? undefined : this.#connections.get(admission.replaces);
    if (old !== undefined && admission.replaces !== undefined)
      this.#perform(admission.replaces, old.channel.disconnected());
    const known = admission.kind === 'resume' ? this.sessions.get(hello.session) : undefined;
    const session = known ?? new ReducerSession({ hello, creditBytes: 40_000 });
    this.sessions.set(hello.session, session);
    entry.session = session;
    const terms = {
      incarnation: 5n,
      windowNs: 10n ** 9n,
      latenessNs: 0n,
      openWindow: 1,
      committedClosedWindow: 0,
      heldMs: 0,
    };
    this.#perform(id, entry.channel.welcome({ session, resume: known !== undefined, ...terms }, clock()));
  }

  #consume(id: number): void {
    const entry = this.#connections.get(id);
    if (entry?.session === undefined) return;
    const target = new Uint8Array(40_000);
    const byteCount = entry.session.copyQueuedInto(target);
    entry.session.consume(byteCount);
    const decoder = new FrameDecoder();
    decoder.push(target.subarray(0, byteCount));
    for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
      this.numbers.push(new DataView(frame.payload.buffer, frame.payload.byteOffset).getUint32(0, true));
    }
    this.goodbyeReason ??= entry.session.goodbyeReason;
    this.#perform(id, entry.channel.report(clock()));
  }
}

/** Passes bytes on and cuts each of its first connections after a random number of them. */
async function relay(to: ListenAddress, random: () => number, cuts: number): Promise<Server> {
  let cutsLeft = cuts;
  const server = createServer((inner) => {
    const outer = createConnection(to);
    let budget = cutsLeft-- > 0 ? Math.floor(random() * 60_000) : Infinity;
    const cut = (): void => {
      inner.destroy();
      outer.destroy();
    };
    for (const [from, onto] of [
      [inner, outer],
      [outer, inner],
    ]) {
      from.on('error', cut).on('close', cut);
      from.on('data', (piece: Buffer) => {
        onto.write(piece.subarray(0, Math.max(0, budget)));
        budget -= piece.length;
        if (budget <= 0) cut();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
  return server;
}

function numbered(random: () => number, number: number): { kind: number; payload: Uint8Array } {
  const payload = new Uint8Array(8 + 8 * Math.floor(random() ** 2 * 900)).map(() => random() * 256);
  new DataView(payload.buffer).setUint32(0, number, true);
  return { kind: FrameKind.Open, payload };
}

async function run(address: ListenAddress, reducer: ReducerEnd, random: () => number): Promise<AgentNews[]> {
  const news: AgentNews[] = [];
  const total = 2_000;
  let offered = 0;
  const isDone = Promise.withResolvers<void>();
  const handle = (item: AgentNews): void => {
    news.push(item);
    if (item.kind === 'welcome' && !item.resume) assert.equal(offered, 0, 'one incarnation, one session: one snapshot');
  };
  const identity = {
    ...{ peerRole: 0, nodeId: 1n, bootId: 2n, session: BigInt(reducer.sessions.size + 3), windowNs: 10n ** 9n },
    ...{ nodeName: 'a', scope: '', zone: '', addressSpace: 'default', agentVersion: '0' },
  };
  const channel = { identity, firstWindow: () => 1, random, zstd: true, frameBytesMax: 8_000 };
  const link = new AgentLink({ address, insecure: false, channel }, { clock, handle });
  link.start();
  const feeder = setInterval(() => {
    while (offered < total && link.channel.canOffer) {
      const count = Math.min(total - offered, 1 + Math.floor(random() * 30));
      link.offer(Array.from({ length: count }, () => numbered(random, offered++)));
    }
    if (reducer.numbers.length >= total) isDone.resolve();
  }, 2);
  await isDone.promise;
  clearInterval(feeder);
  await link.stop();
  assert.deepEqual(
    reducer.numbers,
    Array.from({ length: total }, (_, index) => index),
  );
  assert.equal(reducer.goodbyeReason, GoodbyeReason.Stopping);
  assert.equal(link.channel.keptBytes, 0);
  return news;
}

test('each frame is consumed once and in order though the connection is cut ten times at any byte', async (context) => {
  console.log(`seed ${SEED}`);
  const random = seededRandom(SEED);
  const reducer = new ReducerEnd({ host: '127.0.0.1', port: 0 });
  await reducer.start();
  const server = await relay(reducer.address, random, 10);
  context.after(() => server.close());
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const news = await run({ host: '127.0.0.1', port: address.port }, reducer, random);
  assert.equal(news.filter((item) => item.kind === 'lost').length, 10);
  assert.equal(news.at(-1)?.kind, 'stopped');
  const [session] = reducer.sessions.values();
  assert.equal(session.refused.total, 0);
  await reducer.stop();
});

test('the same over a unix socket, whose clock offset is nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-link-'));
  const reducer = new ReducerEnd({ path: join(folder, 'reducer') });
  await reducer.start();
  const news = await run(reducer.address, reducer, seededRandom(SEED));
  const clocks = news.filter((item) => item.kind === 'clock');
  // An answer that a busy machine delays is wrong by half the delay.
  assert.ok(
    clocks.length > 0 && clocks.every(({ offsetNs }) => offsetNs < 2_000_000_000n && offsetNs > -2_000_000_000n),
  );
  await reducer.stop();
  rmSync(folder, { recursive: true });
});

test('a reducer that stops says so, and the agent comes back to the next one', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-link-'));
  context.after(() => rmSync(folder, { recursive: true }));
  // A port that is free between the two might be taken by somebody else.
  const address = { path: join(folder, 'reducer') };
  const first = new ReducerEnd(address);
  await first.start();
  const news: AgentNews[] = [];
  let waiting = Promise.withResolvers<void>();
  const handle = (item: AgentNews): void => {
    news.push(item);
    if (item.kind === 'welcome' || item.kind === 'lost') waiting.resolve();
  };
  const identity = {
    ...{ peerRole: 0, nodeId: 1n, bootId: 2n, session: 3n, windowNs: 10n ** 9n },
    ...{ nodeName: 'a', scope: '', zone: '', addressSpace: 'default', agentVersion: '0' },
  };
  const channel = { identity, firstWindow: () => 1, random: () => 0.5, frameBytesMax: 8_000 };
  const link = new AgentLink({ address, insecure: false, channel }, { clock, handle });
  link.start();
  await waiting.promise;
  waiting = Promise.withResolvers();
  await first.stop();
  await waiting.promise;
  assert.ok(news.some((item) => item.kind === 'lost' && item.detail === 'ReducerStopping'));
  waiting = Promise.withResolvers();
  const second = new ReducerEnd(address);
  await second.start();
  while (!link.channel.isOpen) {
    await waiting.promise;
    waiting = Promise.withResolvers();
  }
  await link.stop();
  await second.stop();
});
