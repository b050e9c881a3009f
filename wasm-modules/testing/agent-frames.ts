// Frames as an agent makes them, with everything that a test does not care about filled in.
import { encodeFrame } from '../../host/wire/frame.ts';
import { CloseReason, Role, RoleSource } from '../../host/wire/gen/kernel-events-layout.ts';
import * as wire from '../../host/wire/gen/wire-layout.ts';
import { type Announce, encodeAnnounce, type Process } from '../../host/wire/gen/wire-tables.ts';
import { encodeBatch } from '../../host/wire/struct-batch.ts';

const { FrameKind } = wire;

export const SPACE = 1;

export function totals(values: Partial<wire.Totals> = {}): wire.Totals {
  return {
    bytesSent: 0n,
    bytesReceived: 0n,
    segmentsSent: 0n,
    segmentsReceived: 0n,
    retransmits: 0n,
    srttUs: 0,
    minRttUs: 0,
    ...values,
  };
}

/** 16 bytes of an IPv4 address. */
export function ipv4(...bytes: number[]): Uint8Array {
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes]);
}

export function open(values: Partial<wire.Open> = {}): wire.Open {
  return {
    handle: 0,
    process: 1,
    joinKey: 0n,
    cookie: 1n,
    startTimeNs: 0n,
    localAddress: ipv4(10, 0, 0, 1),
    remoteAddress: ipv4(10, 0, 0, 2),
    localPort: 40000,
    remotePort: 80,
    addressSpace: SPACE,
    flags: 0,
    role: Role.Client,
    roleSource: RoleSource.Kernel,
    protocol: 6,
    ipVersion: 4,
    ...values,
  };
}

function batch<Item>(
  kind: number,
  size: number,
  write: (view: DataView, offset: number, item: Item) => void,
  items: Item[],
): Uint8Array {
  const bytes = new Uint8Array(items.length * size);
  const view = new DataView(bytes.buffer);
  items.forEach((item, index) => {
    write(view, index * size, item);
  });
  return encodeFrame({ kind, seq: 1, payload: encodeBatch(bytes, size) });
}

export const openFrame = (items: wire.Open[]) => batch(FrameKind.Open, wire.OPEN_SIZE, wire.writeOpen, items);
export const narrowFrame = (items: wire.UpdateNarrow[]) =>
  batch(FrameKind.UpdateNarrow, wire.UPDATE_NARROW_SIZE, wire.writeUpdateNarrow, items);
export const wideFrame = (items: wire.UpdateWide[]) =>
  batch(FrameKind.UpdateWide, wire.UPDATE_WIDE_SIZE, wire.writeUpdateWide, items);
export const baselineFrame = (items: wire.Baseline[]) =>
  batch(FrameKind.Baseline, wire.BASELINE_SIZE, wire.writeBaseline, items);
export const closeFrame = (items: wire.Close[]) => batch(FrameKind.Close, wire.CLOSE_SIZE, wire.writeClose, items);
export const onceFrame = (items: wire.Once[]) => batch(FrameKind.Once, wire.ONCE_SIZE, wire.writeOnce, items);
export const lossFrame = (items: wire.Loss[]) => batch(FrameKind.Loss, wire.LOSS_SIZE, wire.writeLoss, items);
export const tallyFrame = (items: wire.Tally[]) => batch(FrameKind.Tally, wire.TALLY_SIZE, wire.writeTally, items);
export const settledFrame = (items: wire.Settled[]) =>
  batch(FrameKind.Settled, wire.SETTLED_SIZE, wire.writeSettled, items);
export const foldFrame = (items: wire.Fold[]) => batch(FrameKind.Fold, wire.FOLD_SIZE, wire.writeFold, items);

/** Of connections from 10.0.0.1 to port 80 of 10.0.0.2 that nobody told of before. */
export function fold(values: Partial<wire.Fold> = {}): wire.Fold {
  const { sockets = 1, refused = 0, timedOut = 0, abandoned = 0, unreachable = 0, other = 0 } = values;
  const closed = sockets - refused - timedOut - abandoned - unreachable - other;
  return {
    process: 1,
    addressSpace: SPACE,
    localAddress: ipv4(10, 0, 0, 1),
    remoteAddress: ipv4(10, 0, 0, 2),
    serverPort: 80,
    role: Role.Client,
    protocol: 6,
    ...{ sockets, refused, timedOut, abandoned, unreachable, other, closed },
    connections: closed,
    openings: closed,
    resetsSent: 0,
    resetsReceived: 0,
    shard: 0,
    settled: 0,
    endTimeNs: 0n,
    totals: totals(),
    last: values.totals ?? totals(),
    ...values,
  };
}

export function settled(values: Partial<wire.Settled> = {}): wire.Settled {
  return { joinKey: 0n, pair: 0n, role: Role.Client, counted: 0, window: 0, totals: totals(), ...values };
}

export function once(values: Partial<wire.Once> & { open: wire.Open }): wire.Once {
  return { totals: totals(), endTimeNs: 0n, reason: CloseReason.Closed, phase: 0, error: 0, handshakeUs: 0, ...values };
}

export function close(handle: number, last: wire.Totals, reason: number = CloseReason.Closed): wire.Close {
  return { handle, reason, phase: 0, error: 0, endTimeNs: 0n, totals: last };
}

/** One of the host that only counts, with no code or text, if not told otherwise. */
export function tally(kind: number, values: Partial<wire.Tally> = {}): wire.Tally {
  return { handle: 0, kind, code: 0, label: 0, count: 1n, sum: 0n, ...values };
}

export function windowEnd(window: number, fromWindow = window): Uint8Array {
  const end: wire.WindowEnd = {
    window,
    fromWindow,
    agentTimeNs: 0n,
    eventsLost: 0n,
    socketsFolded: 0n,
    socketsRefused: 0n,
    windowsCoalesced: 0n,
    journalSkipped: 0n,
    processesUnnamed: 0n,
    socketsLive: 0,
    blindMs: 0,
  };
  return batch(FrameKind.WindowEnd, wire.WINDOW_END_SIZE, wire.writeWindowEnd, [end]);
}

export function snapshotMark(kind: number, window: number): Uint8Array {
  return batch(kind, wire.SNAPSHOT_MARK_SIZE, wire.writeSnapshotMark, [{ window }]);
}

export function process(handle: number, values: Partial<Process> = {}): Process {
  return {
    handle,
    pid: handle,
    uid: 0,
    startTimeNs: 0n,
    comm: '',
    executable: '',
    unit: '',
    containerId: '',
    containerRuntime: '',
    cgroup: '',
    ...values,
  };
}

export function announceFrame(announce: Partial<Announce>): Uint8Array {
  return encodeFrame({ kind: FrameKind.Announce, seq: 1, payload: encodeAnnounce(announce) });
}
