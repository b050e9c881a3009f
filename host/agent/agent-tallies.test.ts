// When a host's tallies are told, told again and forgotten, and how their labels come and go.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Payload } from '../wire/channel-sender.ts';
import { LabelKind, type LabelToName } from '../wire/gen/agent-layout.ts';
import {
  CloseReason,
  DROP_COUNT_SIZE,
  KernelEventType,
  Role,
  type SocketEvent,
  writeDropCount,
} from '../wire/gen/kernel-events-layout.ts';
import { BaselineKind, FrameKind, TallyKind } from '../wire/gen/wire-layout.ts';
import { decodeAnnounce } from '../wire/gen/wire-tables.ts';
import { AgentCore } from './agent-core.ts';
import type { AgentLimits } from './agent-module.ts';
import { itemsOf, kindsOf } from './testing/decode.ts';
import { encodeEvents } from './testing/kernel-event.ts';
import { BUILDS, loadModule } from './testing/modules.ts';

const { SocketTotals, SocketClose, SocketOpen } = KernelEventType;
const CONTEXT = { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };
/** A connection of 5 µs with a handshake of 2 µs, at its end. */
const CLOSED: Partial<SocketEvent> = {
  type: SocketClose,
  closeReason: CloseReason.Closed,
  timeNs: 6_000n,
  startTimeNs: 1_000n,
  handshakeUs: 2,
  role: Role.Client,
};

function drop(cookie: bigint, location: bigint, count: bigint): Uint8Array {
  const bytes = new Uint8Array(DROP_COUNT_SIZE);
  const head = { type: KernelEventType.DropCount, size: DROP_COUNT_SIZE, cpu: 0, timeNs: 1n };
  writeDropCount(new DataView(bytes.buffer), 0, { ...head, cookie, location, count, reason: 2 });
  return bytes;
}

/** `kind: count sum`, in order. */
function tallied(payloads: readonly Payload[]): string[] {
  const names = Object.entries(TallyKind);
  return itemsOf(payloads, 'Tally').map(
    ({ kind, count, sum }) => `${names.find(([, value]) => value === kind)?.[0]}: ${count} ${sum}`,
  );
}

/** What is said of labels, in order. */
function labelled(payloads: readonly Payload[]): string[] {
  return payloads
    .filter(({ kind }) => kind === FrameKind.Announce)
    .flatMap(({ payload }) => {
      const { labels = [], endedLabels = [] } = decodeAnnounce(payload) ?? {};
      return [
        ...endedLabels.map((handle) => `${handle} ended`),
        ...labels.map(({ handle, text }) => `${handle} ${text}`),
      ];
    });
}

for (const build of BUILDS) {
  const createCore = (limits: AgentLimits = {}, nameLabel?: (label: LabelToName) => string | undefined) =>
    new AgentCore(
      {
        module: loadModule(build),
        hashSeed: [1n, 2n],
        limits,
        windowNs: 10_000_000_000n,
        addressSpace: 'default',
        boot: 'boot',
      },
      { nameProcess: () => undefined, nameLabel },
    );
  const withoutAnnounces = (payloads: readonly Payload[]) =>
    kindsOf(payloads).filter((kind) => kind !== 'Announce' && kind !== 'WindowEnd');

  test(`${build}: a short socket with tallies is opened, tallied and closed, one without is a Once that says them`, () => {
    const core = createCore();
    core.events(encodeEvents({ ...CLOSED, cookie: 1n, outOfOrder: 3 }, { ...CLOSED, cookie: 2n }));
    const payloads = core.encodeWindow(1, CONTEXT);
    assert.deepEqual(withoutAnnounces(payloads), ['Open', 'Tally', 'Once', 'Close']);
    assert.deepEqual(tallied(payloads), ['OutOfOrder: 3 0', 'Duration: 1 5000', 'HandshakeServer: 1 2000']);
    const [open] = itemsOf(payloads, 'Open');
    assert.deepEqual(new Set(itemsOf(payloads, 'Tally').map(({ handle }) => handle)), new Set([open.handle]));
    const [once] = itemsOf(payloads, 'Once');
    assert.deepEqual([once.open.cookie, once.handshakeUs], [2n, 2]);
    core.commit(1);
    assert.deepEqual([core.counters.tallies, core.counters.talliesTold], [0n, 5n]);
  });

  test(`${build}: a socket that closes in a later window tallies its handshake first and its life last`, () => {
    const core = createCore();
    core.events(encodeEvents({ type: SocketOpen, startTimeNs: 1_000n, handshakeUs: 2 }));
    assert.deepEqual(tallied(core.encodeWindow(1, CONTEXT)), ['HandshakeServer: 1 2000']);
    core.events(encodeEvents({ type: SocketTotals, startTimeNs: 1_000n, outOfOrder: 1, handshakeUs: 2 }));
    assert.deepEqual(withoutAnnounces(core.encodeWindow(2, CONTEXT)), ['Tally']);
    core.events(encodeEvents({ ...CLOSED, outOfOrder: 1 }));
    assert.deepEqual(tallied(core.encodeWindow(3, CONTEXT)), ['Duration: 1 5000']);
  });

  test(`${build}: a new reducer is told what is not committed, the same one what it has not taken`, () => {
    const tell = (): AgentCore => {
      const core = createCore();
      core.encodeSnapshot(1, 1n, 0n);
      for (let window = 1; window <= 3; window++) {
        core.events(encodeEvents({ type: SocketTotals, outOfOrder: window, bytesSent: BigInt(window) }));
        core.encodeWindow(window, CONTEXT);
      }
      core.commit(1);
      return core;
    };
    assert.deepEqual(tallied(tell().encodeSnapshot(4, 2n, 0n)), ['OutOfOrder: 2 0']);
    assert.deepEqual(tallied(tell().encodeSnapshot(4, 2n, 0n, 3)), ['OutOfOrder: 2 0'], 'taken by another one');
    assert.deepEqual(tallied(tell().encodeSnapshot(4, 1n, 0n, 2)), ['OutOfOrder: 1 0']);
    assert.deepEqual(tallied(tell().encodeSnapshot(4, 1n, 0n, 3)), []);
    assert.deepEqual(tallied(tell().encodeSnapshot(4, 1n, 0n)), [], 'it does not know what it has taken');
  });

  test(`${build}: a closed socket whose tallies are not committed is opened again for them`, () => {
    const core = createCore();
    core.events(encodeEvents({ type: SocketOpen, startTimeNs: 1_000n, bytesSent: 1n }));
    core.encodeWindow(1, CONTEXT);
    core.events(encodeEvents({ ...CLOSED, handshakeUs: 0, bytesSent: 4n, outOfOrder: 2 }));
    core.encodeWindow(2, CONTEXT);
    core.commit(1);
    const payloads = core.encodeSnapshot(3, 2n, 0n);
    assert.deepEqual(withoutAnnounces(payloads).slice(1, -1), ['Open', 'Baseline', 'Tally', 'Close']);
    assert.equal(itemsOf(payloads, 'Baseline')[0].kind, BaselineKind.Committed);
    assert.deepEqual(tallied(payloads), ['OutOfOrder: 2 0', 'Duration: 1 5000']);
    core.encodeWindow(3, CONTEXT);
    core.commit(3);
    assert.deepEqual([core.counters.tallies, core.counters.socketsClosed], [0n, 0n]);
  });

  test(`${build}: a folded socket takes its tallies with it, and they are counted`, () => {
    const core = createCore({ closedRetained: 1 });
    core.events(encodeEvents({ ...CLOSED, cookie: 1n, outOfOrder: 3 }, { ...CLOSED, cookie: 2n }));
    // Three segments, a handshake and a duration.
    assert.deepEqual([core.counters.talliesLost, core.counters.talliesForgotten], [5n, 0n]);
    core.encodeWindow(1, CONTEXT);
    core.events(encodeEvents({ ...CLOSED, cookie: 3n }));
    assert.deepEqual([core.counters.talliesLost, core.counters.talliesForgotten], [5n, 2n]);
  });

  test(`${build}: what is counted of no socket is the host's`, () => {
    const core = createCore();
    core.events(drop(0n, 0xffff_ffff_8100_0000n, 7n));
    const [tally] = itemsOf(core.encodeWindow(1, CONTEXT), 'Tally');
    assert.deepEqual([tally.handle, tally.kind, tally.code, tally.count], [0, TallyKind.Drop, 2, 7n]);
  });

  test(`${build}: what is dropped of a socket before the totals tell of it waits for them, and counts for the host when they never do`, () => {
    const core = createCore();
    core.events(drop(1n, 0xffff_ffff_8100_0000n, 7n));
    core.events(drop(2n, 0xffff_ffff_8100_0000n, 5n));
    assert.deepEqual(itemsOf(core.encodeWindow(1, CONTEXT), 'Tally'), []);
    core.events(encodeEvents({ type: KernelEventType.SocketOpen, cookie: 1n }));
    core.settle(1n);
    const known = itemsOf(core.encodeWindow(2, CONTEXT), 'Tally');
    core.settle(2n);
    const unknown = itemsOf(core.encodeWindow(3, CONTEXT), 'Tally');
    assert.deepEqual(
      [known, unknown].map((tallies) => tallies.map(({ handle, count }) => [handle, count])),
      [[[1, 7n]], [[0, 5n]]],
    );
    assert.equal(unknown[0].label, known[0].label);
  });

  test(`${build}: a label is named and announced before its tally, once on each channel, and ends when nobody needs it`, () => {
    const asked: LabelToName[] = [];
    const core = createCore({}, (label) => {
      asked.push(label);
      return label.value === 1n ? 'NO_SOCKET tcp_v4_rcv' : undefined;
    });
    core.events(drop(0n, 1n, 7n));
    core.events(drop(0n, 2n, 7n));
    const first = core.encodeWindow(1, CONTEXT);
    const labels = itemsOf(first, 'Tally').map(({ label }) => label);
    assert.deepEqual(labelled(first).sort(), [`${labels[0]} NO_SOCKET tcp_v4_rcv`, `${labels[1]} 2 0x2`].sort());
    assert(kindsOf(first).lastIndexOf('Announce') < kindsOf(first).indexOf('Tally'));
    assert.deepEqual(
      new Set(asked.map(({ kind, detail }) => `${kind} ${detail}`)),
      new Set([`${LabelKind.DropSite} 2`]),
    );

    core.events(drop(0n, 1n, 1n));
    assert.deepEqual(labelled(core.encodeWindow(2, CONTEXT)), [], 'it is known');
    assert.equal(labelled(core.encodeSnapshot(3, 2n, 0n)).length, 2, 'a new channel');
    core.encodeWindow(3, CONTEXT);
    assert.deepEqual(labelled(core.encodeWindow(20, CONTEXT)), [], 'not committed');
    core.commit(20);
    core.encodeWindow(21, CONTEXT);
    assert.deepEqual(labelled(core.encodeWindow(26, CONTEXT)), [], 'it may come back');
    assert.deepEqual(labelled(core.encodeWindow(27, CONTEXT)).sort(), labels.map((label) => `${label} ended`).sort());
    assert.equal(core.counters.labels, 0n);
    assert.equal(asked.length, 2);
  });
}
