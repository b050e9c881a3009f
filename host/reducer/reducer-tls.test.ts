// A reducer with certificates and real worker threads: who gets in, who is counted and logged, and what new certificates change.
import { strict as assert } from 'node:assert';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { startClock } from '../lib/clock.ts';
import type { Credentials } from '../tls/credentials.ts';
import { TestAuthority } from '../tls/testing/test-credentials.ts';
import { addHandshakes, type HandshakeCounts } from './handshake-counts.ts';
import { Reducer } from './reducer.ts';
import { ScriptedAgent } from './testing/scripted-agent.ts';
import { announce } from './testing/told.ts';

const WINDOW_NS = 1_000_000_000n;
const clock = startClock();

interface Line {
  msg: string;
  node?: string;
  peer?: string;
  certificate?: { names: string[]; serial: string };
}

class Scene {
  readonly lines: Line[] = [];
  readonly reducer: Reducer;
  readonly #context: TestContext;
  #nextSession = 1n;

  constructor(context: TestContext, verifyNodeNames: boolean) {
    this.#context = context;
    const listen = [{ host: '127.0.0.1', port: 0 }];
    const times = { windowNs: WINDOW_NS, latenessNs: WINDOW_NS };
    this.reducer = new Reducer(
      { listen, insecure: false, workers: 2, verifyNodeNames, ...times },
      {
        log: pino({}, { write: (text: string) => this.lines.push(JSON.parse(text)) }),
        clock,
        random64: () => randomBytes(8).readBigUInt64LE(),
        closeWindow: ({ window }) => this.reducer.exported(window),
        fail: (error) => assert.fail(error),
      },
    );
  }

  async start(credentials: Credentials): Promise<void> {
    await this.reducer.start(credentials);
    this.#context.after(() => this.reducer.stop());
  }

  get address(): { host: string; port: number } {
    const [address] = this.reducer.addresses;
    assert.ok('port' in address);
    return address;
  }

  agent(name: string, credentials: () => Credentials): ScriptedAgent {
    const agent = new ScriptedAgent({
      ...{ address: this.address, clock, name, session: this.#nextSession++, windowNs: WINDOW_NS },
      ...{ snapshot: announce(name, '10.0.0.1'), script: [], tls: { credentials } },
    });
    agent.start();
    this.#context.after(() => agent.stop());
    return agent;
  }

  async line(pattern: RegExp): Promise<Line> {
    await until(
      () => this.lines.some(({ msg }) => pattern.test(msg)),
      String(pattern),
      () => this.lines,
    );
    return this.lines.find(({ msg }) => pattern.test(msg)) ?? assert.fail();
  }

  async handshakes(): Promise<HandshakeCounts> {
    return addHandshakes((await this.reducer.readCounters()).map(({ counts }) => counts.handshakes));
  }
}

async function until(isTrue: () => boolean, what: string, detail: () => unknown): Promise<void> {
  for (const deadline = performance.now() + 30_000; !isTrue(); await sleep(10))
    assert.ok(performance.now() < deadline, `waited for ${what}: ${JSON.stringify(detail())}`);
}

test('agents with certificates join any worker, under what their certificate says', async (context) => {
  const authority = await TestAuthority.create();
  const scene = new Scene(context, false);
  await scene.start(await authority.issue());
  const own = await authority.issue({ name: 'agent.test' });
  const agents = ['a', 'b', 'c'].map((name) => scene.agent(name, () => own));
  await until(
    () => agents.every(({ committedWindow }) => committedWindow > 0),
    'commits',
    () => scene.lines,
  );
  assert.deepEqual(await scene.handshakes(), { accepted: 3 });
  const joined = await scene.line(/agent joined/);
  assert.deepEqual(joined.certificate?.names, ['agent.test', '127.0.0.1']);
  assert.match(joined.peer ?? '', /^127\.0\.0\.1:\d+$/);
});

test('connections with certificates stay where they were accepted, and a reducer that stops says goodbye on all of them', async (context) => {
  const AGENTS = 12;
  const authority = await TestAuthority.create();
  const scene = new Scene(context, false);
  await scene.start(await authority.issue());
  const own = await authority.issue({ name: 'agent.test' });
  const agents = Array.from({ length: AGENTS }, (_, index) => scene.agent(`n${index}`, () => own));
  await until(
    () => agents.every(({ committedWindow }) => committedWindow > 0),
    'commits',
    () => scene.lines,
  );
  const counts = (await scene.reducer.readCounters()).map((reading) => reading.counts);
  assert.deepEqual(
    counts.map(({ sessions, connectionsTaken }) => ({ sessions, connectionsTaken })),
    [
      { sessions: AGENTS / 2, connectionsTaken: 0 },
      { sessions: AGENTS / 2, connectionsTaken: 0 },
    ],
  );
  await scene.reducer.stop();
  await until(
    () => agents.every(({ losses }) => losses.length > 0),
    'the end of all connections',
    () => agents.map(({ losses }) => losses),
  );
  assert.deepEqual(
    agents.map(({ losses }) => losses[0]),
    agents.map(() => 'goodbye'),
  );
});

test('refused connections of all workers are counted and logged with the peer', async (context) => {
  const authority = await TestAuthority.create();
  const scene = new Scene(context, false);
  await scene.start(await authority.issue());
  const { host, port } = scene.address;
  for (let count = 0; count < 20; count++) {
    const socket = createConnection(port, host, () => socket.write('hello')).resume();
    await once(socket, 'close');
  }
  const stranger = await (await TestAuthority.create()).issue();
  const foreign = scene.agent('a', () => ({ ...stranger, ca: authority.certificate }));
  await until(
    () => foreign.goodbyes.length > 0,
    'a goodbye',
    () => foreign.losses,
  );
  assert.equal(foreign.goodbyes[0], 'UnknownAuthority');
  const counts = await scene.handshakes();
  assert.equal(counts.plaintext, 20);
  assert.ok((counts.unknown_authority ?? 0) >= 1);
  assert.equal(counts.accepted, undefined);
  const line = await scene.line(/spoke plaintext to a TLS port/);
  assert.ok(line.msg.includes(line.peer ?? 'no peer'));
  assert.ok(scene.lines.filter(({ msg }) => /plaintext/.test(msg)).length < 20, 'most are only counted');
});

test('an agent under a name that its certificate does not bear is told so', async (context) => {
  const authority = await TestAuthority.create();
  const scene = new Scene(context, true);
  await scene.start(await authority.issue());
  const own = await authority.issue({ name: 'web-1' });
  const rightful = scene.agent('web-1', () => own);
  const impostor = scene.agent('web-2', () => own);
  await until(
    () => impostor.goodbyes.length > 0,
    'a goodbye',
    () => scene.lines,
  );
  await until(
    () => rightful.committedWindow > 0,
    'a commit',
    () => scene.lines,
  );
  assert.equal(impostor.goodbyes[0], 'NodeName');
  assert.deepEqual(Object.keys(scene.reducer.agentsRefused), ['NodeName']);
  await scene.line(/agent web-2 refused: NodeName/);
});

test('every worker takes new certificates, and agents that are connected stay', async (context) => {
  const [first, second] = [await TestAuthority.create(), await TestAuthority.create()];
  const scene = new Scene(context, false);
  await scene.start(await first.issue());
  const old = await first.issue();
  const staying = scene.agent('a', () => old);
  await until(
    () => staying.committedWindow > 0,
    'a commit',
    () => scene.lines,
  );
  scene.reducer.renew(await second.issue());
  const renewed = await second.issue({ name: 'renewed' });
  const coming = ['b', 'c', 'd', 'e'].map((name) => scene.agent(name, () => renewed));
  await until(
    () => coming.every(({ committedWindow }) => committedWindow > 0),
    'commits',
    () => scene.lines,
  );
  const { committedWindow } = staying;
  await until(
    () => staying.committedWindow > committedWindow,
    'a further commit',
    () => scene.lines,
  );
  assert.deepEqual(staying.losses, []);
  assert.deepEqual(await scene.handshakes(), { accepted: 5 });
});
