// What one window tells: which kind of payload for which history of a socket.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import {
  CloseReason,
  KernelEventType,
  RoleSource,
  type SocketEvent,
  SocketFlag,
} from '../wire/gen/kernel-events-layout.ts';
import { BaselineKind, OpenFlags } from '../wire/gen/wire-layout.ts';
import { decodeAnnounce } from '../wire/gen/wire-tables.ts';
import { AgentCore, type ProcessName } from './agent-core.ts';
import type { AgentLimits } from './agent-module.ts';
import { itemsOf, kindsOf } from './testing/decode.ts';
import { encodeEvents, ipv4 } from './testing/kernel-event.ts';
import { BUILDS, loadModule } from './testing/modules.ts';

const { SocketOpen, SocketTotals, SocketClose, ConnectFailed, SocketAdopted, SocketOwner } = KernelEventType;
const OFFSET_NS = 1_700_000_000_000_000_000n;
const CONTEXT = { clockOffsetNs: OFFSET_NS, agentTimeNs: 7n, eventsLost: 3n, blindMs: 9 };
const UNNAMED: ProcessName = {
  executable: '/bin/program',
  unit: '',
  containerId: '',
  containerRuntime: '',
  cgroup: '/',
};

function createCore(build: (typeof BUILDS)[number], limits: AgentLimits = {}): AgentCore {
  const options = {
    module: loadModule(build),
    hashSeed: [1n, 2n] as const,
    limits,
    windowNs: 10_000_000_000n,
    addressSpace: 'default',
    boot: 'boot',
  };
  return new AgentCore(options, { nameProcess: () => UNNAMED });
}

for (const build of BUILDS) {
  const told = (core: AgentCore, window: number, ...events: Partial<SocketEvent>[]) => {
    core.events(encodeEvents(...events));
    return core.encodeWindow(window, CONTEXT);
  };

  test(`${build}: an idle window is its end`, () => {
    const core = createCore(build);
    core.begin(4);
    assert.deepEqual(kindsOf(core.encodeWindow(5, CONTEXT)), ['Announce', 'Announce', 'WindowEnd']);
    const payloads = core.encodeWindow(6, CONTEXT);
    assert.deepEqual(kindsOf(payloads), ['WindowEnd']);
    const [{ window, fromWindow, agentTimeNs, eventsLost, blindMs, windowsCoalesced }] = itemsOf(payloads, 'WindowEnd');
    assert.deepEqual([window, fromWindow, agentTimeNs, eventsLost, blindMs, windowsCoalesced], [6, 6, 7n, 3n, 9, 1n]);
  });

  test(`${build}: a socket that opens and closes between two tellings is one Once`, () => {
    const core = createCore(build);
    const payloads = told(
      core,
      1,
      {},
      { type: SocketClose, timeNs: 5_000n, closeReason: CloseReason.ResetReceived, error: 104, bytesSent: 5n },
    );
    assert.deepEqual(kindsOf(payloads), ['Announce', 'Announce', 'Announce', 'Once', 'WindowEnd']);
    const [once] = itemsOf(payloads, 'Once');
    assert.deepEqual([once.open.handle, once.open.flags, once.totals.bytesSent], [0, 0, 5n]);
    assert.deepEqual([once.reason, once.error], [CloseReason.ResetReceived, 104]);
    assert.deepEqual([once.open.startTimeNs, once.endTimeNs], [OFFSET_NS + 1_000n, OFFSET_NS + 5_000n]);
  });

  test(`${build}: a failed connect is a Once, and each attempt on one socket is another`, () => {
    const core = createCore(build);
    const failed = { type: ConnectFailed, joinKey: 0n, closeReason: CloseReason.ConnectRefused, error: 111 };
    const onces = itemsOf(
      told(core, 1, { ...failed, timeNs: 1_500n }, { ...failed, startTimeNs: 2_000n, timeNs: 2_500n }),
      'Once',
    );
    assert.deepEqual(
      onces.map((once) => once.reason),
      [CloseReason.ConnectRefused, CloseReason.ConnectRefused],
    );
    assert.notEqual(onces[0].open.cookie, onces[1].open.cookie);
    const again = itemsOf(core.encodeSnapshot(2, 1n, OFFSET_NS), 'Once');
    assert.deepEqual(
      again.map((once) => once.open.cookie),
      onces.map((once) => once.open.cookie),
    );
  });

  test(`${build}: an increment is narrow as long as it fits, and the least RTT is told wide`, () => {
    const core = createCore(build);
    told(core, 1, {});
    const rows: { event: Partial<SocketEvent>; kind: 'UpdateNarrow' | 'UpdateWide' | undefined }[] = [
      { event: { bytesSent: 0xffff_ffffn, segmentsSent: 0xffff }, kind: 'UpdateNarrow' },
      { event: { bytesSent: 2n * 0xffff_ffffn + 1n, segmentsSent: 0xffff }, kind: 'UpdateWide' },
      { event: { bytesSent: 2n * 0xffff_ffffn + 1n, segmentsSent: 0x1_ffff }, kind: 'UpdateWide' },
      { event: { bytesSent: 2n * 0xffff_ffffn + 1n, segmentsSent: 0x1_ffff, retransmits: 1 }, kind: 'UpdateNarrow' },
      {
        event: { bytesSent: 2n * 0xffff_ffffn + 1n, segmentsSent: 0x1_ffff, retransmits: 1, srttUs: 50, minRttUs: 40 },
        kind: 'UpdateWide',
      },
      {
        event: { bytesSent: 2n * 0xffff_ffffn + 1n, segmentsSent: 0x1_ffff, retransmits: 1, srttUs: 60, minRttUs: 45 },
        kind: undefined,
      },
    ];
    for (const [index, { event, kind }] of rows.entries()) {
      const payloads = told(core, index + 2, { type: SocketTotals, ...event });
      assert.deepEqual(kindsOf(payloads), kind === undefined ? ['WindowEnd'] : [kind, 'WindowEnd'], `row ${index}`);
    }
  });

  test(`${build}: 32-bit counters of the kernel go on when they wrap`, () => {
    const core = createCore(build);
    told(core, 1, { type: SocketAdopted, startTimeNs: 0n, segmentsSent: 0xffff_fff0, retransmits: 0xffff_ffff });
    const [update] = itemsOf(
      told(core, 2, { type: SocketTotals, startTimeNs: 0n, segmentsSent: 0x10, retransmits: 1 }),
      'UpdateNarrow',
    );
    assert.deepEqual([update.segmentsSent, update.retransmits], [0x20, 2]);
  });

  test(`${build}: an adopted socket begins at its history, and is no new connection`, () => {
    const core = createCore(build);
    const payloads = told(core, 1, { type: SocketAdopted, startTimeNs: 0n, bytesSent: 1_000n });
    assert.equal(itemsOf(payloads, 'Open')[0].flags, OpenFlags.Existing);
    const [baseline] = itemsOf(payloads, 'Baseline');
    assert.deepEqual([baseline.kind, baseline.totals.bytesSent], [BaselineKind.Adopted, 1_000n]);
    const [update] = itemsOf(told(core, 2, { type: SocketTotals, startTimeNs: 0n, bytesSent: 1_500n }), 'UpdateNarrow');
    assert.equal(update.bytesSent, 500);
  });

  test(`${build}: an adopted socket that closes before it is told is opened all the same, because Once has no baseline`, () => {
    const core = createCore(build);
    const history = { startTimeNs: 0n, bytesSent: 1_000n };
    const payloads = told(
      core,
      1,
      { type: SocketAdopted, ...history },
      { type: SocketClose, ...history, bytesSent: 1_200n },
    );
    assert.deepEqual(kindsOf(payloads).slice(-4), ['Open', 'Baseline', 'Close', 'WindowEnd']);
  });

  test(`${build}: a scan that ran before the ring was read does not make a new connection old`, () => {
    const core = createCore(build);
    const payloads = told(
      core,
      1,
      { type: SocketAdopted, startTimeNs: 0n, bytesSent: 5n },
      { type: SocketOpen, startTimeNs: 900n, bytesSent: 5n },
    );
    assert.deepEqual(
      itemsOf(payloads, 'Open').map((open) => open.flags),
      [0],
    );
    assert.equal(itemsOf(payloads, 'UpdateNarrow')[0].bytesSent, 5);
  });

  test(`${build}: a close without an opening is told as a whole connection, once`, () => {
    const core = createCore(build);
    const close = { type: SocketClose, closeReason: CloseReason.Closed, bytesSent: 9n };
    const onces = itemsOf(told(core, 1, close, close), 'Once');
    assert.deepEqual(
      onces.map((once) => once.totals.bytesSent),
      [9n],
    );
    assert.deepEqual([core.counters.openingsInferred, core.counters.eventsRepeated], [1n, 1n]);
  });

  test(`${build}: an end that waited elsewhere ends the attempt that it is of, not the connection after it`, () => {
    const core = createCore(build);
    const failure = {
      type: ConnectFailed,
      closeReason: CloseReason.ConnectRefused,
      startTimeNs: 1_000n,
      timeNs: 1_500n,
    };
    const second = { joinKey: 7n, startTimeNs: 2_000n, bytesSent: 50n };
    const payloads = told(core, 1, { ...second, timeNs: 2_500n }, failure);
    const [once] = itemsOf(payloads, 'Once');
    assert.deepEqual([once.reason, once.totals.bytesSent], [CloseReason.ConnectRefused, 0n]);
    assert.equal(itemsOf(payloads, 'Open').length, 1);
    assert.equal(core.counters.socketsLive, 1n);
    const closing = { ...second, type: SocketClose, closeReason: CloseReason.Closed, bytesSent: 90n, timeNs: 3_000n };
    const [close] = itemsOf(told(core, 2, closing), 'Close');
    assert.deepEqual([close.reason, close.totals.bytesSent], [CloseReason.Closed, 90n]);
  });

  test(`${build}: an opening is no news of the connection before it, whose end waits elsewhere`, () => {
    const core = createCore(build);
    const first = { joinKey: 7n, startTimeNs: 1_000n };
    const second = { joinKey: 8n, startTimeNs: 5_000n };
    told(core, 1, { ...first, bytesSent: 40n }, { ...second, bytesSent: 5n, timeNs: 5_500n });
    const closing = { ...first, type: SocketClose, closeReason: CloseReason.Closed, bytesSent: 60n, timeNs: 4_000n };
    const payloads = told(core, 2, closing, { ...second, type: SocketTotals, bytesSent: 8n, timeNs: 6_000n });
    assert.deepEqual(
      itemsOf(payloads, 'Close').map((close) => close.totals.bytesSent),
      [60n],
    );
    assert.deepEqual(
      itemsOf(payloads, 'UpdateNarrow').map((update) => update.bytesSent),
      [3],
    );
  });

  test(`${build}: a better owner and a better role are told with the same handle`, () => {
    const core = createCore(build);
    told(core, 1, { flags: SocketFlag.OwnerProvisional, ownerPid: 1, roleSource: RoleSource.Port });
    const payloads = told(core, 2, { type: SocketOwner, ownerPid: 2, roleSource: RoleSource.Kernel });
    const [open] = itemsOf(payloads, 'Open');
    assert.deepEqual([open.handle, open.process, open.roleSource], [1, 2, RoleSource.Kernel]);
    assert.deepEqual(kindsOf(core.encodeWindow(3, CONTEXT)), ['WindowEnd']);
    assert.equal(core.counters.amendments, 2n);
  });

  test(`${build}: an owner that comes before the opening makes no socket`, () => {
    const core = createCore(build);
    assert.deepEqual(itemsOf(told(core, 1, { type: SocketOwner }), 'Open'), []);
    assert.equal(core.counters.ownersUnmatched, 1n);
  });

  test(`${build}: loopback and link-local addresses are in their namespace's space, others in the configured one`, () => {
    const v6 = (first: number, second: number, last: number) =>
      Uint8Array.of(first, second, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last);
    const rows = [
      { address: ipv4(127, 9, 0, 1), netns: 5, space: 'boot/netns:5' },
      { address: ipv4(169, 254, 1, 1), netns: 6, space: 'boot/netns:6' },
      { address: v6(0, 0, 1), netns: 5, space: 'boot/netns:5' },
      { address: v6(0xfe, 0x80, 1), netns: 7, space: 'boot/netns:7' },
      { address: v6(0xfe, 0xc0, 1), netns: 7, space: 'default' },
      { address: ipv4(128, 0, 0, 1), netns: 5, space: 'default' },
      { address: ipv4(10, 0, 0, 1), netns: 5, space: 'default' },
      { address: v6(0x20, 0x01, 1), netns: 5, space: 'default' },
    ];
    const core = createCore(build);
    const payloads = told(
      core,
      1,
      ...rows.map(({ address, netns }, index) => ({ cookie: BigInt(index + 1), remoteAddress: address, netns })),
    );
    const announces = payloads.map(({ payload, kind }) => (kind === 3 ? decodeAnnounce(payload) : undefined));
    const names = new Map(
      announces.flatMap((announce) => announce?.addressSpaces ?? []).map(({ handle, name }) => [handle, name]),
    );
    assert.deepEqual(
      itemsOf(payloads, 'Open').map((open) => names.get(open.addressSpace)),
      rows.map(({ space }) => space),
    );
    const loopbacks = announces
      .flatMap((announce) => announce?.hostAddresses ?? [])
      .map(({ addressSpace }) => addressSpace);
    assert.deepEqual(loopbacks, [2, 2, 3, 3, 4, 4]);
  });

  test(`${build}: a process is announced before it is named, and its handle is free only after its end was announced`, () => {
    const core = createCore(build);
    const announced = (window: number, ...events: Partial<SocketEvent>[]) =>
      told(core, window, ...events).flatMap(({ kind, payload }) => (kind === 3 ? (decodeAnnounce(payload) ?? []) : []));
    const first = announced(1, {}, { type: SocketClose });
    assert.deepEqual(
      first
        .flatMap((one) => one.processes ?? [])
        .map(({ handle, pid, comm, executable }) => [handle, pid, comm, executable]),
      [[1, 100, 'program', '/bin/program']],
    );
    core.commit(1);
    assert.deepEqual(announced(7), []);
    assert.deepEqual(
      announced(8, { cookie: 2n, ownerPid: 101 }).map(
        (one) => one.endedProcesses ?? one.processes?.map(({ handle }) => handle),
      ),
      [[1], [2]],
    );
    assert.deepEqual(
      announced(9, { cookie: 3n, ownerPid: 102 }).map((one) => one.processes?.map(({ handle }) => handle)),
      [[1]],
    );
  });

  test(`${build}: what is no event is counted and changes nothing`, () => {
    const core = createCore(build);
    const bad: Partial<SocketEvent>[] = [
      { type: 0 },
      { type: 99 },
      { cookie: 0n },
      { role: 3 },
      { roleSource: 5 },
      { protocol: 1 },
      { ipVersion: 5 },
      { size: 199 },
    ];
    assert.deepEqual(itemsOf(told(core, 1, ...bad), 'Open'), []);
    assert.equal(core.counters.eventsMalformed, BigInt(bad.length));
    assert.equal(core.counters.socketsLive, 0n);
  });

  test(`${build}: totals never fall`, () => {
    const core = createCore(build);
    told(core, 1, { bytesSent: 10n, segmentsSent: 5 });
    assert.deepEqual(kindsOf(told(core, 2, { type: SocketTotals, bytesSent: 9n, segmentsSent: 4 })), ['WindowEnd']);
    assert.equal(core.counters.eventsStale, 1n);
  });

  test(`${build}: a census closes whoever it does not find`, () => {
    const core = createCore(build);
    told(core, 1, { cookie: 1n }, { cookie: 2n });
    core.beginCensus();
    core.events(encodeEvents({ type: SocketTotals, cookie: 2n }, { cookie: 3n }));
    core.endCensus(9_000n);
    const payloads = core.encodeWindow(2, CONTEXT);
    assert.deepEqual(
      itemsOf(payloads, 'Close').map(({ handle, endTimeNs }) => [handle, endTimeNs]),
      [[1, OFFSET_NS + 9_000n]],
    );
    assert.deepEqual([core.counters.closesInferred, core.counters.socketsLive], [1n, 2n]);
  });

  test(`${build}: without credit windows coalesce, and the next end names the first of them`, () => {
    const core = createCore(build);
    told(core, 1, {});
    core.events(encodeEvents({ type: SocketTotals, bytesSent: 1n }));
    const payloads = told(core, 4, { type: SocketTotals, bytesSent: 3n });
    assert.deepEqual(
      itemsOf(payloads, 'UpdateNarrow').map(({ bytesSent }) => bytesSent),
      [3],
    );
    const [{ fromWindow, windowsCoalesced }] = itemsOf(payloads, 'WindowEnd');
    assert.deepEqual([fromWindow, windowsCoalesced], [2, 2n]);
  });

  test(`${build}: a snapshot marks what is committed as counted and begins there`, () => {
    const core = createCore(build);
    told(core, 1, { cookie: 1n, bytesSent: 5n }, { cookie: 2n }, { cookie: 3n, type: SocketClose });
    core.commit(1);
    told(core, 2, { cookie: 1n, type: SocketTotals, bytesSent: 8n }, { cookie: 4n });
    const payloads = core.encodeSnapshot(3, 2n, OFFSET_NS);
    const { Existing, Counted } = OpenFlags;
    assert.deepEqual(
      itemsOf(payloads, 'Open').map(({ cookie, flags }) => [cookie, flags]),
      [
        [1n, Existing | Counted],
        [2n, Existing | Counted],
        [4n, 0],
      ],
    );
    assert.deepEqual(
      itemsOf(payloads, 'Baseline').map(({ kind, totals }) => [kind, totals.bytesSent]),
      [
        [BaselineKind.Committed, 5n],
        [BaselineKind.Committed, 0n],
      ],
    );
    assert.deepEqual(
      itemsOf(payloads, 'Settled').map(({ counted, window }) => [counted, window]),
      [[1, 1]],
    );
    const [end] = itemsOf(core.encodeWindow(3, CONTEXT), 'WindowEnd');
    assert.equal(end.fromWindow, 2);
  });
}
