// Workers whose windows are larger than their rings and outboxes, one turn at a time in random order: a round in which nobody could do
// anything, before the window has closed, is a deadlock.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { sortedRows } from '../export/edge-rows.ts';
import { decodeWindow } from '../export/window-rows.ts';
import { seededRandom } from '../lib/random.ts';
import type { Payload } from '../wire/channel-sender.ts';
import { encodeFrame } from '../wire/frame.ts';
import { FrameDecoder } from '../wire/frame-decoder.ts';
import { Level } from '../wire/gen/records-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { encodeHello } from '../wire/gen/wire-tables.ts';
import { ReducerSession } from '../wire/reducer-session.ts';
import { allocateDoorbells, Doorbells } from './doorbell.ts';
import { allocateRings, Mesh } from './mesh.ts';
import { compileReducer } from './reducer-module.ts';
import {
  announce,
  hello,
  onces,
  opens,
  ROLE_CLIENT,
  ROLE_SERVER,
  socket,
  tallies,
  totals,
  windowEnd,
} from './testing/told.ts';
import { ReducerWorkerCore } from './worker-core.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const FIRST_WINDOW = 100;
const WINDOWS = 3;
const AGENTS = 4;
/** Several slices of a close for each of four workers. */
const CONNECTIONS = 40_000;
const RING_BYTES = 1 << 12;
const OUTBOX_BYTES = 1 << 12;
const ONCES_PER_FRAME = 3_000;
/** Of one agent, which stay. Each is told so many times that it counted one that what it counted is longer than a ring. */
const NOISY_SOCKETS = 8;
const TALLIES = 600;
const MODULE = await compileReducer();
const ALL_LEVELS = new Set(Object.values(Level));

class NarrowCore extends ReducerWorkerCore {
  readonly #peers: number[];

  constructor(worker: number, workers: number) {
    super({ module: MODULE, worker, workers, hashSeed: 1n, windowNs: 10_000_000_000n, openWindow: FIRST_WINDOW });
    this.#peers = Array.from({ length: workers }, (_, peer) => peer).filter((peer) => peer !== worker);
  }

  override get isCongested(): boolean {
    return this.#peers.some((peer) => this.outbox(peer).length >= OUTBOX_BYTES);
  }
}

/** Connections from agent i to agent i + 1, each within one window. The first window of an agent begins with what it announces. */
function tellWindow(agent: number, window: number): Payload[] {
  const address = (index: number): string => `10.0.0.${(index % AGENTS) + 1}`;
  const ended = { reason: 1, phase: 0, error: 0, endTimeNs: 1n, handshakeUs: 0 };
  const payloads = window === FIRST_WINDOW ? announce(`service-${agent}`, address(agent)) : [];
  for (const role of [ROLE_CLIENT, ROLE_SERVER]) {
    const [client, server] = role === ROLE_CLIENT ? [agent, agent + 1] : [agent + AGENTS - 1, agent];
    const told = Array.from({ length: CONNECTIONS / AGENTS }, (_, index) => {
      const port = 1_024 + index;
      const joinKey = BigInt(((window * AGENTS + (client % AGENTS)) << 16) + index + 1) * 0x9e37_79b9n;
      const [local, localPort, remote, remotePort] =
        role === ROLE_CLIENT ? [client, port, server, 80] : [server, 80, client, port];
      const open = socket({
        ...{ handle: 0, joinKey, role, local: address(local), localPort, remote: address(remote), remotePort },
      });
      return { open, totals: role === ROLE_CLIENT ? totals(index, 7) : totals(7, index), ...ended };
    });
    for (let at = 0; at < told.length; at += ONCES_PER_FRAME)
      payloads.push(onces(told.slice(at, at + ONCES_PER_FRAME)));
  }
  if (agent === 0 && window === FIRST_WINDOW) payloads.push(...tellNoise());
  return [...payloads, windowEnd(window)];
}

/** An agent of ours tells what a socket counts in one tally; any other need not. */
function tellNoise(): Payload[] {
  const handles = Array.from({ length: NOISY_SOCKETS }, (_, index) => index + 1);
  const own = { role: ROLE_CLIENT, local: '10.0.0.1', remote: '10.0.0.2', remotePort: 81 };
  const sockets = handles.map((handle) =>
    socket({ handle, joinKey: BigInt(handle) * 0x1234_5678_9abc_def1n, localPort: handle, ...own }),
  );
  const one = { kind: TallyKind.OutOfOrder, code: 0, label: 0, count: 1n, sum: 0n };
  const repeated = handles.map((handle) => tallies(Array.from({ length: TALLIES }, () => ({ handle, ...one }))));
  return [opens(sockets), ...repeated];
}

/** What each window puts out, and how often a ring was full. Every agent tells as far ahead as it is let. */
function run(workers: number, random: () => number): { windows: string[]; ringsFull: number } {
  const memory = { rings: allocateRings(workers, RING_BYTES), doorbells: allocateDoorbells(workers) };
  const stages = memory.rings.map((_, worker) => {
    const core = new NarrowCore(worker, workers);
    const doorbells = new Doorbells(memory.doorbells);
    return { core, mesh: new Mesh({ worker, memory, doorbells, ends: core, wake: () => {} }), isSealed: false };
  });
  const sessions = Array.from({ length: AGENTS }, (_, agent) => {
    const { core } = stages[agent % workers];
    const first = hello(`agent-${agent}`, BigInt(agent + 1), { firstWindow: FIRST_WINDOW });
    const session = new ReducerSession({ hello: first, creditBytes: 1 << 30 });
    const decoder = new FrameDecoder();
    let seq = 1;
    for (let window = FIRST_WINDOW; window < FIRST_WINDOW + WINDOWS; window++)
      for (const payload of tellWindow(agent, window)) {
        decoder.push(encodeFrame({ seq: seq++, ...payload }));
        for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) session.receive(frame);
      }
    return { core, session, slot: core.openSession(encodeHello(first)), isHeld: false };
  });
  const outputs: Uint8Array[][] = [];
  let window = FIRST_WINDOW;
  let closed: Uint8Array[] = [];
  const turn = (worker: number): boolean => {
    const { core, mesh } = stages[worker];
    let moved = mesh.receive();
    for (const each of sessions) {
      if (each.core !== core || each.isHeld || !core.takesFrames) continue;
      if (!each.session.hasQueued && !core.isShipping(each.slot)) continue;
      each.isHeld = core.offer(each.slot, each.session) === 'held';
      moved = true;
    }
    const hasTold = sessions.every(({ core: own, slot }) => own.toldWindow(slot) >= window && !own.isShipping(slot));
    if (hasTold && !stages[worker].isSealed) {
      stages[worker].isSealed = true;
      core.seal(window, 0);
      moved = true;
    }
    const step = core.closeStep();
    if (step.kind === 'matched') for (const each of sessions) if (each.core === core) each.isHeld = false;
    if (step.kind === 'matched' || step.kind === 'closed') mesh.resume();
    if (step.kind === 'closed') closed.push(step.output);
    mesh.flush();
    return mesh.send() || moved || step.kind !== 'waiting';
  };
  while (window < FIRST_WINDOW + WINDOWS) {
    const order = stages.map((_, worker) => ({ worker, place: random() })).sort((a, b) => a.place - b.place);
    const moved = order.map(({ worker }) => turn(worker)).includes(true);
    assert.ok(moved, `${workers} workers wait for each other in window ${window}`);
    if (closed.length < workers) continue;
    outputs.push(closed);
    closed = [];
    window++;
    for (const stage of stages) stage.isSealed = false;
  }
  const ringsFull = stages.reduce((sum, { mesh }) => sum + mesh.ringsFull, 0);
  return { windows: outputs.map((each) => JSON.stringify(sortedRows(decodeWindow(each, ALL_LEVELS)))), ringsFull };
}

test('windows that are larger than rings and outboxes close, and say the same for any number of workers', (context) => {
  context.diagnostic(`SEED=${SEED}`);
  const alone = run(1, seededRandom(SEED));
  assert.equal(alone.windows.length, WINDOWS);
  for (const workers of [2, 4]) {
    const { windows, ringsFull } = run(workers, seededRandom(SEED));
    assert.ok(ringsFull > 0, 'no ring was full');
    for (const [index, text] of windows.entries())
      assert.ok(text === alone.windows[index], `window ${index} differs with ${workers} workers`);
  }
});
