// What happens at each limit of agent.wasm, and that memory stays where it is while sockets come and go.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { CloseReason, KernelEventType, type SocketEvent } from '../wire/gen/kernel-events-layout.ts';
import { LossKind, OpenFlags, TallyKind } from '../wire/gen/wire-layout.ts';
import { AgentCore } from './agent-core.ts';
import type { AgentLimits } from './agent-module.ts';
import { itemsOf, kindsOf } from './testing/decode.ts';
import { encodeEvents, ipv4 } from './testing/kernel-event.ts';
import { loadModule } from './testing/modules.ts';

const { SocketTotals, SocketClose, ConnectFailed } = KernelEventType;
const CONTEXT = { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };
const module = loadModule('agent.wasm');

function createCore(limits: AgentLimits = {}): AgentCore {
  const options = {
    module,
    hashSeed: [1n, 2n] as const,
    limits,
    windowNs: 1_000_000_000n,
    addressSpace: 'default',
    boot: 'boot',
  };
  return new AgentCore(options, { nameProcess: () => undefined });
}

function manyEvents(count: number, describe: (index: number) => Partial<SocketEvent>): Uint8Array {
  return encodeEvents(...Array.from({ length: count }, (_, index) => describe(index)));
}

test('a full table refuses sockets, and takes them again when there is room', () => {
  const core = createCore({ sockets: 3 });
  core.events(manyEvents(5, (index) => ({ cookie: BigInt(index + 1) })));
  assert.equal(itemsOf(core.encodeWindow(1, CONTEXT), 'Open').length, 3);
  assert.deepEqual([core.counters.socketsRefused, core.counters.socketsLive], [2n, 3n]);
  core.events(encodeEvents({ cookie: 1n, type: SocketClose }));
  core.encodeWindow(2, CONTEXT);
  core.commit(2);
  core.events(encodeEvents({ cookie: 5n, type: SocketTotals, bytesSent: 4n }));
  const payloads = core.encodeWindow(3, CONTEXT);
  assert.equal(itemsOf(payloads, 'Open').length, 1);
  assert.equal(itemsOf(payloads, 'UpdateWide').length + itemsOf(payloads, 'UpdateNarrow').length, 1);
});

test('what was left out is told in each window from the first time on, of the kernel and of the agent alike', () => {
  const core = createCore({ tallies: 1 });
  const lossesIn = (payloads: ReturnType<AgentCore['encodeWindow']>) =>
    new Map(itemsOf(payloads, 'Loss').map(({ kind, count }) => [kind, count]));
  assert.deepEqual(kindsOf(core.encodeWindow(1, CONTEXT)).at(-1), 'WindowEnd');
  core.tallyHost(TallyKind.Shed, 1, 1);
  assert.equal(lossesIn(core.encodeWindow(2, { ...CONTEXT, kernelLosses: { Drops: 0 } })).size, 0);
  core.tallyHost(TallyKind.Shed, 2, 3);
  core.setListeners(
    Array.from({ length: 1030 }, (_, port) => {
      return { address: new Uint8Array(16), port, ipVersion: 6, netns: 1, pid: 1, comm: new Uint8Array(16) };
    }),
  );
  for (const window of [3, 4]) {
    const payloads = core.encodeWindow(window, { ...CONTEXT, kernelLosses: { Drops: 4, ProgramSkips: 0 } });
    assert.deepEqual(kindsOf(payloads).slice(-2), ['Loss', 'WindowEnd']);
    const losses = lossesIn(payloads);
    assert.deepEqual(
      [LossKind.Drops, LossKind.ProgramSkips, LossKind.Tallies, LossKind.Listeners].map((kind) => losses.get(kind)),
      [4n, 0n, core.counters.talliesRefused, 6n],
    );
    assert.ok(core.counters.talliesRefused > 0n);
  }
});

for (const takenWindow of [1, 2]) {
  test(`a close of window 2 on a cut channel, taken up to ${takenWindow}: told again, and forgotten with its commit`, () => {
    const core = createCore();
    core.encodeSnapshot(1, 1n, 0n);
    core.events(encodeEvents({ cookie: 1n }));
    core.encodeWindow(1, CONTEXT);
    core.events(encodeEvents({ cookie: 1n, type: SocketClose, closeReason: CloseReason.Closed, bytesSent: 5n }));
    assert.equal(itemsOf(core.encodeWindow(2, CONTEXT), 'Close').length, 1);
    const closesIn = (payloads: ReturnType<AgentCore['encodeWindow']>) =>
      [...itemsOf(payloads, 'Close'), ...itemsOf(payloads, 'Once')].map(({ totals }) => totals.bytesSent);
    assert.deepEqual(closesIn(core.encodeSnapshot(3, 1n, 0n, takenWindow)), [5n]);
    assert.deepEqual(closesIn(core.encodeWindow(3, CONTEXT)), [], 'once on this channel');
    // What the reducer has of this session it commits: the windows up to the one that it took, or from the snapshot's on.
    core.commit(takenWindow);
    assert.equal(core.counters.socketsClosed, takenWindow === 1 ? 1n : 0n);
    const again = core.encodeSnapshot(4, 1n, 0n, takenWindow);
    assert.deepEqual(closesIn(again), takenWindow === 1 ? [5n] : [], 'what is not committed is not forgotten');
    core.encodeWindow(4, CONTEXT);
    core.commit(4);
    assert.equal(core.counters.socketsClosed, 0n);
    assert.deepEqual(closesIn(core.encodeSnapshot(5, 2n, 0n)), []);
    assert.equal(itemsOf(core.encodeSnapshot(6, 3n, 0n), 'Settled').length, 1);
  });
}

test('beyond the retention limit the oldest fold by owner, addresses, port and shard', () => {
  const core = createCore({ closedRetained: 2 });
  const closed = (cookie: bigint, event: Partial<SocketEvent>) => ({
    cookie,
    type: SocketClose,
    closeReason: CloseReason.Closed,
    ...event,
  });
  const failed = { type: ConnectFailed, joinKey: 0n, closeReason: CloseReason.ConnectRefused };
  core.events(
    encodeEvents(
      closed(1n, { joinKey: 9n, bytesSent: 10n, closeReason: CloseReason.ResetSent }),
      closed(2n, { joinKey: 9n, bytesSent: 5n }),
      closed(3n, { joinKey: 9n, bytesSent: 7n, remotePort: 81 }),
      { cookie: 4n, ...failed },
      closed(5n, { bytesSent: 1n }),
      closed(6n, { bytesSent: 2n }),
    ),
  );
  const payloads = core.encodeWindow(1, CONTEXT);
  assert.deepEqual(
    itemsOf(payloads, 'Once').map(({ totals }) => totals.bytesSent),
    [1n, 2n],
  );
  const folds = itemsOf(payloads, 'Fold').map((fold) => [
    fold.serverPort,
    fold.sockets,
    fold.connections,
    fold.refused,
    fold.resetsSent,
    fold.closed,
    fold.openings,
    fold.totals.bytesSent,
    fold.last.bytesSent,
  ]);
  assert.deepEqual(folds, [
    [80, 2, 2, 0, 1, 2, 2, 15n, 15n],
    [81, 1, 1, 0, 0, 1, 1, 7n, 7n],
    [80, 1, 0, 1, 0, 0, 0, 0n, 0n],
  ]);
  assert.equal(itemsOf(payloads, 'WindowEnd')[0].socketsFolded, 4n);
  assert.equal(itemsOf(core.encodeSnapshot(2, 2n, 0n), 'Fold').length, 3);
  core.encodeWindow(2, CONTEXT);
  core.commit(2);
  assert.deepEqual([core.counters.folds, core.counters.processes], [0n, 1n]);
});

test('a committed fold is told to another reducer, without what it added, for ten minutes', () => {
  const core = createCore({ closedRetained: 1 });
  const end = (cookie: bigint, bytesSent: bigint) => ({ cookie, joinKey: 9n, type: SocketClose, bytesSent });
  core.events(encodeEvents(end(1n, 10n), end(2n, 5n), end(3n, 1n)));
  core.encodeWindow(1, CONTEXT);
  core.commit(1);
  core.events(encodeEvents(end(4n, 7n), end(5n, 1n)));
  core.encodeWindow(2, CONTEXT);
  core.commit(2);
  const told = (window: number, incarnation: bigint) =>
    itemsOf(core.encodeSnapshot(window, incarnation, 0n), 'Fold').map(({ settled, process, sockets, ...fold }) => [
      ...[settled, process, sockets, fold.connections, fold.closed, fold.openings],
      ...[fold.totals.bytesSent, fold.last.bytesSent],
    ]);
  const both = [1, 0, 3, 0, 3, 3, 0n, 22n];
  assert.deepEqual([told(3, 2n), told(4, 2n), told(602, 3n)], [[both], [], [both]]);
  assert.deepEqual(told(603, 4n), []);
});

test('what of a socket was told in several windows is in the fold once, and what is committed of it is not news', () => {
  const core = createCore({ closedRetained: 1 });
  const moved = (type: number, bytesSent: bigint) => encodeEvents({ cookie: 1n, type, bytesSent });
  core.events(moved(SocketTotals, 10n));
  core.encodeWindow(1, CONTEXT);
  core.events(moved(SocketTotals, 30n));
  core.encodeWindow(2, CONTEXT);
  core.events(moved(SocketClose, 60n));
  core.encodeWindow(3, CONTEXT);
  core.events(encodeEvents({ cookie: 2n, type: SocketClose }));
  core.commit(1);
  const told = (incarnation: bigint) =>
    itemsOf(core.encodeSnapshot(4, incarnation, 0n), 'Fold').map((fold) => [
      ...[fold.connections, fold.closed, fold.openings],
      ...[fold.totals.bytesSent, fold.last.bytesSent],
    ]);
  assert.deepEqual(told(2n), [[0, 1, 1, 50n, 60n]]);
});

test('beyond the limit of folds one for each role takes the rest, and loses no byte', () => {
  const FOLDS = 262_144;
  const core = createCore({ closedRetained: 1 });
  for (let first = 0; first < FOLDS + 1_000; first += 1_000) {
    core.events(
      manyEvents(1_000, (index) => ({
        cookie: BigInt(first + index + 1),
        type: SocketClose,
        bytesSent: 1n,
        remoteAddress: ipv4(10, (first + index) >> 16, ((first + index) >> 8) & 255, (first + index) & 255),
      })),
    );
  }
  const total = BigInt(Math.ceil((FOLDS + 1_000) / 1_000) * 1_000);
  for (const window of [1, 2]) {
    const payloads = window === 1 ? core.encodeWindow(1, CONTEXT) : core.encodeSnapshot(2, 2n, 0n);
    const folds = itemsOf(payloads, 'Fold');
    const once = itemsOf(payloads, 'Once').reduce((sum, { totals }) => sum + totals.bytesSent, 0n);
    assert.equal(
      folds.reduce((sum, fold) => sum + fold.totals.bytesSent, once),
      total,
    );
    assert.equal(folds.length, FOLDS + 1);
  }
  assert.equal(core.counters.foldsMerged, total - 1n - BigInt(FOLDS));
  core.encodeWindow(2, CONTEXT);
  core.commit(2);
  assert.equal(core.counters.folds, 0n);
});

test('all that is told of a socket in one window, its snapshot included, is one entry of the journal', () => {
  const core = createCore();
  core.encodeSnapshot(1, 1n, 0n);
  core.events(encodeEvents({ cookie: 1n }, { cookie: 1n, type: SocketTotals, bytesSent: 100n }));
  core.encodeWindow(1, CONTEXT);
  assert.equal(core.counters.journalEntries, 1n, 'opened and moved');
  core.encodeSnapshot(2, 2n, 0n);
  core.events(encodeEvents({ cookie: 1n, type: SocketTotals, bytesSent: 250n }));
  core.encodeWindow(2, CONTEXT);
  assert.equal(core.counters.journalEntries, 2n, 'one for each window');
  core.commit(2);
  assert.equal(core.counters.journalEntries, 0n);
  const [baseline] = itemsOf(core.encodeSnapshot(3, 3n, 0n), 'Baseline');
  assert.equal(baseline.totals.bytesSent, 250n);
});

test('a full journal notes a change later, when there is room', () => {
  const core = createCore({ journalEntries: 2 });
  core.events(manyEvents(3, (index) => ({ cookie: BigInt(index + 1) })));
  core.encodeWindow(1, CONTEXT);
  assert.equal(core.counters.journalSkipped, 1n);
  core.commit(1);
  core.encodeWindow(2, CONTEXT);
  assert.equal(core.counters.journalEntries, 1n);
  core.commit(2);
  const flags = itemsOf(core.encodeSnapshot(3, 2n, 0n), 'Open').map((open) => open.flags);
  assert.deepEqual(flags, Array(3).fill(OpenFlags.Existing | OpenFlags.Counted));
});

test('settled sockets are forgotten after ten minutes, or beyond their limit', () => {
  const core = createCore({ settled: 2 });
  core.events(manyEvents(3, (index) => ({ cookie: BigInt(index + 1), type: SocketClose })));
  core.encodeWindow(1, CONTEXT);
  core.commit(1);
  assert.deepEqual([core.counters.settled, core.counters.settledDropped], [2n, 1n]);
  assert.equal(itemsOf(core.encodeSnapshot(601, 2n, 0n), 'Settled').length, 2);
  core.encodeWindow(601, CONTEXT);
  core.encodeWindow(602, CONTEXT);
  assert.equal(core.counters.settled, 0n);
});

test('settled sockets keep their age when the windows get another length', () => {
  const core = createCore();
  core.events(encodeEvents({ type: SocketClose }));
  core.encodeWindow(1_000, CONTEXT);
  core.commit(1_000);
  core.setWindowLength(10_000_000_000n);
  assert.equal(core.toldWindow, 100);
  assert.deepEqual(
    itemsOf(core.encodeSnapshot(101, 2n, 0n), 'Settled').map(({ window }) => window),
    [100],
  );
});

test('a reducer with windows of another length confirms what it was told, in its windows', () => {
  for (const lengthNs of [10_000_000_000n, 100_000_000n]) {
    const core = createCore();
    core.events(encodeEvents({ bytesSent: 5n }, { cookie: 2n }));
    core.encodeWindow(1_000, CONTEXT);
    core.commit(1_000);
    core.events(encodeEvents({ type: SocketTotals, bytesSent: 8n }, { type: SocketClose, cookie: 2n, bytesSent: 3n }));
    core.encodeWindow(1_001, CONTEXT);
    core.setWindowLength(lengthNs);
    const window = core.nextWindow;
    assert.deepEqual(
      itemsOf(core.encodeSnapshot(window, 2n, 0n), 'Baseline').map(({ totals }) => totals.bytesSent),
      [5n, 0n],
    );
    core.encodeWindow(window, CONTEXT);
    core.commit(window);
    assert.deepEqual([core.counters.journalEntries, core.counters.socketsClosed], [0n, 0n]);
    assert.deepEqual(
      itemsOf(core.encodeSnapshot(window + 1, 3n, 0n), 'Baseline').map(({ totals }) => totals.bytesSent),
      [8n],
    );
  }
});

test('a namespace that has no sockets left gives its address space to the next one', () => {
  const SPACES = 4_094;
  const core = createCore();
  const local = { remoteAddress: ipv4(127, 0, 0, 1) };
  core.events(manyEvents(SPACES, (index) => ({ ...local, cookie: BigInt(index + 1), netns: index + 1 })));
  core.events(encodeEvents({ ...local, cookie: 10_000n, netns: 10_000 }));
  assert.equal(core.counters.addressSpacesRefused, 1n);
  core.events(encodeEvents({ cookie: 7n, type: SocketClose }));
  core.encodeWindow(1, CONTEXT);
  core.commit(1);
  core.events(encodeEvents({ ...local, cookie: 10_001n, netns: 10_001 }));
  const [open] = itemsOf(core.encodeWindow(2, CONTEXT), 'Open');
  assert.equal(open.addressSpace, 7 + 1);
});

test('more processes at once than there are handles leave the rest without one', () => {
  const PROCESSES = 65_536;
  const core = createCore();
  core.events(manyEvents(PROCESSES + 2, (index) => ({ cookie: BigInt(index + 1), ownerPid: index + 1 })));
  assert.deepEqual([core.counters.processes, core.counters.processesRefused], [BigInt(PROCESSES), 2n]);
  const opens = itemsOf(core.encodeWindow(1, CONTEXT), 'Open');
  assert.equal(opens.filter(({ process }) => process === 0).length, 2);
});

test('memory stays where it is while sockets and processes come and go', () => {
  const core = createCore();
  const SOCKETS = 5_000;
  let settledBytes = 0n;
  for (let window = 1; window <= 700; window++) {
    const first = window * SOCKETS;
    const perWindow = window < 100 ? SOCKETS : 500;
    core.events(manyEvents(perWindow, (index) => ({ cookie: BigInt(first + index), ownerPid: window })));
    if (window % 2 === 0) core.encodeWindow(window, CONTEXT);
    core.events(
      manyEvents(perWindow, (index) => ({
        cookie: BigInt(first + index),
        ownerPid: window,
        type: SocketClose,
        bytesSent: 1n,
      })),
    );
    if (window % 2 === 1) core.encodeWindow(window, CONTEXT);
    core.commit(window - 2);
    if (window === 100) settledBytes = core.counters.memoryBytes;
  }
  assert.equal(core.counters.memoryBytes, settledBytes);
  assert(core.counters.processes < 70n);
});

test('memory stays where it is while sockets move, are told again and close', () => {
  const core = createCore();
  const SOCKETS = 1_000;
  const ENDED_PER_WINDOW = 100;
  let settledBytes = 0n;
  for (let window = 1; window <= 400; window++) {
    const first = window * ENDED_PER_WINDOW;
    const bytesSent = BigInt(window);
    // Without a join key nothing of them is kept beyond the commit.
    const socket = (index: number): Partial<SocketEvent> => ({ cookie: BigInt(first + index), joinKey: 0n });
    core.events(
      manyEvents(SOCKETS, (index) => ({
        ...{ ...socket(index), type: SocketTotals, retransmitsFast: index % 2 === 0 ? window : 0 },
        // A third rests in each window, and one of them tells nothing but another RTT.
        ...(index % 3 === window % 3 ? { srttUs: window } : { bytesSent }),
      })),
    );
    core.events(
      manyEvents(ENDED_PER_WINDOW, (index) => ({
        ...socket(index),
        ...{ type: SocketClose, bytesSent: bytesSent + 1n },
      })),
    );
    // To the same reducer or to another one.
    if (window % 5 === 0) core.encodeSnapshot(window, BigInt(window >> 4), 0n, window - 1);
    else core.encodeWindow(window, CONTEXT);
    // Of several windows at once, in most windows of none.
    if (window % 7 === 0) core.commit(window - 3);
    if (window === 100) settledBytes = core.counters.memoryBytes;
  }
  assert.equal(core.counters.memoryBytes, settledBytes);
});
