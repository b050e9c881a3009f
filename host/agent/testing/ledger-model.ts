// A naive reducer for one agent: reads payloads in the order of the channel, holds them against the rules of docs/protocol.md, and books.
// What it exported is final; what it had not exported dies with its incarnation. Every rule that is broken is an AssertionError.
import { strict as assert } from 'node:assert';
import type { Payload } from '../../wire/channel-sender.ts';
import { CloseReason, Role } from '../../wire/gen/kernel-events-layout.ts';
import * as layout from '../../wire/gen/wire-layout.ts';
import { BaselineKind, FrameKind, type Open, OpenFlags, type Totals } from '../../wire/gen/wire-layout.ts';
import { decodeAnnounce } from '../../wire/gen/wire-tables.ts';
import { eachItem } from './decode.ts';
import { addSums, addTally, FIELDS, type Sums, type Truth, tallyKey, zeroSums } from './socket-model.ts';

const FRAME_BYTES_MAX = 65536;
const RANKS = [
  [FrameKind.SnapshotBegin],
  [FrameKind.Announce, FrameKind.Listener],
  [FrameKind.Settled],
  [FrameKind.Open],
  [FrameKind.Baseline],
  [FrameKind.Tally],
  [FrameKind.Once],
  [FrameKind.UpdateNarrow, FrameKind.UpdateWide],
  [FrameKind.Close],
  [FrameKind.Fold],
  [FrameKind.Loss],
  [FrameKind.WindowEnd, FrameKind.SnapshotEnd],
];

/** What the channel knows of a handle. */
interface Twin {
  open: Open;
  told: Totals;
  /** Owed: the Open said that the socket is older. */
  baselineDue: boolean;
  closed: boolean;
}

/** What the incarnation knows of one end of a connection. */
interface Flow {
  booked: Sums;
  counted: boolean;
  settled: boolean;
}

function emptyTruth(): Truth {
  return { ...zeroSums(), connections: 0, failures: new Map(), tallies: new Map() };
}

export class LedgerModel {
  readonly exported: Truth = emptyTruth();
  /** By `endOf`. */
  readonly exportedTotals = new Map<bigint, Sums>();
  readonly frames = new Map<number, number>();
  onces = 0;
  folds = 0;
  /** Opens told again. */
  refreshes = 0;
  #flows = new Map<bigint, Flow>();
  #failed = new Set<bigint>();
  #twins = new Map<number, Twin>();
  #retired: { handle: number; window: number }[] = [];
  #processes = new Set<number>();
  #spaces = new Set<number>();
  #labels = new Map<number, string>();
  #staged = emptyTruth();
  #stagedTotals = new Map<bigint, Sums>();
  #closing: number[] = [];
  #windows: { window: number; truth: Truth; totals: Map<bigint, Sums> }[] = [];
  #pending: (readonly Payload[])[] = [];
  /** A snapshot is as old as its bytes. */
  #exportedAtSnapshot = new Map<bigint, Sums>();
  #rank = 0;
  #nextWindow = 0;
  #takenWindow = 0;
  #incarnation = 1n;

  get liveTwins(): number {
    return this.#twins.size;
  }

  /** The last window that this incarnation has taken; 0 = none. */
  get takenWindow(): number {
    return this.#takenWindow;
  }

  get incarnation(): bigint {
    return this.#incarnation;
  }

  /** Windows of the agent that are booked and not exported. */
  get uncommitted(): number[] {
    return this.#windows.map(({ window }) => window);
  }

  /** A reducer that knows nothing. What was not committed is gone. */
  restart(): void {
    this.#flows.clear();
    this.#failed.clear();
    this.#windows = [];
    this.#takenWindow = 0;
    this.#incarnation++;
    this.loseChannel();
  }

  /** The same reducer, a channel that knows nothing. */
  loseChannel(): void {
    this.#pending = [];
    this.#twins.clear();
    this.#retired = [];
    this.#processes.clear();
    this.#spaces.clear();
    this.#labels.clear();
    this.#staged = emptyTruth();
    this.#stagedTotals = new Map();
    this.#closing = [];
  }

  commit(window: number): void {
    while (this.#windows.length > 0 && this.#windows[0].window <= window) {
      const { truth, totals } = this.#windows.shift()!;
      addTruth(this.exported, truth);
      for (const [end, sums] of totals) this.exportedTotals.set(end, sums);
    }
    this.#retired = this.#retired.filter((one) => one.window > window);
  }

  /** A window or a snapshot, or its beginning. Nothing of it counts before the end of the window. */
  receive(payloads: readonly Payload[]): void {
    this.#pending.push(payloads);
    if (payloads[0]?.kind === FrameKind.SnapshotBegin) this.#exportedAtSnapshot = new Map(this.exportedTotals);
    if (payloads.at(-1)?.kind !== FrameKind.WindowEnd) return;
    for (const group of this.#pending) this.#group(group);
    this.#pending = [];
  }

  #group(payloads: readonly Payload[]): void {
    this.#rank = 0;
    for (const { kind, payload } of payloads) {
      assert(
        payload.length % 8 === 0 && payload.length + 16 <= FRAME_BYTES_MAX,
        `${payload.length} bytes of kind ${kind}`,
      );
      const rank = RANKS.findIndex((kinds) => kinds.includes(kind as never));
      assert(rank >= this.#rank, `kind ${kind} after rank ${this.#rank}`);
      this.#rank = rank;
      this.frames.set(kind, (this.frames.get(kind) ?? 0) + 1);
      this.#payload(kind, payload);
    }
  }

  #payload(kind: number, payload: Uint8Array): void {
    switch (kind) {
      case FrameKind.Announce:
        return this.#announce(payload);
      case FrameKind.Settled:
        return eachItem(payload, layout.SETTLED_SIZE, layout.readSettled, ({ joinKey }) =>
          assert.notEqual(joinKey, 0n),
        );
      case FrameKind.Open:
        return eachItem(payload, layout.OPEN_SIZE, layout.readOpen, (open) => this.#open(open));
      case FrameKind.Baseline:
        return eachItem(payload, layout.BASELINE_SIZE, layout.readBaseline, (baseline) => this.#baseline(baseline));
      case FrameKind.Tally:
        return eachItem(payload, layout.TALLY_SIZE, layout.readTally, (tally) => this.#tally(tally));
      case FrameKind.Once:
        return eachItem(payload, layout.ONCE_SIZE, layout.readOnce, (once) => this.#once(once));
      case FrameKind.UpdateNarrow:
        return eachItem(payload, layout.UPDATE_NARROW_SIZE, layout.readUpdateNarrow, (update) => this.#narrow(update));
      case FrameKind.UpdateWide:
        return eachItem(payload, layout.UPDATE_WIDE_SIZE, layout.readUpdateWide, (update) => this.#wide(update));
      case FrameKind.Close:
        return eachItem(payload, layout.CLOSE_SIZE, layout.readClose, (close) => this.#close(close));
      case FrameKind.Fold:
        return eachItem(payload, layout.FOLD_SIZE, layout.readFold, (fold) => this.#fold(fold));
      case FrameKind.WindowEnd:
        return eachItem(payload, layout.WINDOW_END_SIZE, layout.readWindowEnd, (end) => this.#windowEnd(end));
    }
  }

  #announce(payload: Uint8Array): void {
    const announce = decodeAnnounce(payload);
    assert(announce !== undefined);
    for (const handle of announce.endedProcesses ?? [])
      assert(this.#processes.delete(handle), `process ${handle} ended`);
    for (const { handle } of announce.processes ?? []) {
      assert(!this.#processes.has(handle), `process ${handle} is announced twice`);
      this.#processes.add(handle);
    }
    for (const handle of announce.endedLabels ?? []) assert(this.#labels.delete(handle), `label ${handle} ended`);
    for (const { handle, text } of announce.labels ?? []) {
      assert(!this.#labels.has(handle), `label ${handle} is announced twice`);
      this.#labels.set(handle, text);
    }
    for (const { handle } of announce.addressSpaces ?? []) this.#spaces.add(handle);
  }

  #checkReferences(process: number, space: number): void {
    assert(process === 0 || this.#processes.has(process), `process ${process} was not announced`);
    assert(this.#spaces.has(space), `space ${space} was not announced`);
  }

  #open(open: Open): void {
    this.#checkReferences(open.process, open.addressSpace);
    assert.notEqual(open.handle, 0);
    const known = this.#twins.get(open.handle);
    if (known !== undefined && !known.closed && known.open.cookie === open.cookie) {
      assert(known.open.roleSource <= open.roleSource);
      known.open = open;
      this.refreshes++;
      return;
    }
    assert(known === undefined, `handle ${open.handle} is taken`);
    assert(
      !this.#retired.some((one) => one.handle === open.handle),
      `handle ${open.handle} is used again before its close is committed`,
    );
    const baselineDue = (open.flags & OpenFlags.Existing) !== 0;
    this.#twins.set(open.handle, { open, told: { ...zeroSums(), srttUs: 0, minRttUs: 0 }, baselineDue, closed: false });
    if (!baselineDue) this.#book(open, zeroSums(), undefined);
  }

  #baseline({ handle, kind, totals }: layout.Baseline): void {
    const twin = this.#twins.get(handle);
    assert(twin?.baselineDue === true);
    twin.baselineDue = false;
    twin.told = totals;
    if (kind === BaselineKind.Committed) {
      const exported = this.#exportedAtSnapshot.get(endOf(twin.open));
      assert.deepEqual(pick(totals), exported, `baseline of socket ${twin.open.cookie}`);
    }
    this.#book(twin.open, totals, totals);
  }

  #twin(handle: number): Twin {
    const twin = this.#twins.get(handle);
    assert(twin !== undefined && !twin.closed && !twin.baselineDue, `handle ${handle} is not open`);
    return twin;
  }

  #tally({ handle, kind, code, label, count, sum }: layout.Tally): void {
    if (handle !== 0) this.#twin(handle);
    assert(label === 0 || this.#labels.has(label), `label ${label} was not announced`);
    assert(count > 0n);
    addTally(this.#staged.tallies, tallyKey(kind, code), count, sum);
  }

  #narrow(update: layout.UpdateNarrow): void {
    const twin = this.#twin(update.handle);
    const told = { ...twin.told };
    for (const field of FIELDS) told[field] += BigInt(update[field]);
    twin.told = { ...told, srttUs: update.srttUs };
    this.#book(twin.open, twin.told, undefined);
  }

  #wide({ handle, totals }: layout.UpdateWide): void {
    const twin = this.#twin(handle);
    const moved = FIELDS.map((field) => totals[field] - twin.told[field]);
    assert(moved.every((amount) => amount >= 0n));
    const isNarrow = moved.every((amount, index) => amount <= (index < 2 ? 0xffff_ffffn : 0xffffn));
    assert(!isNarrow || totals.minRttUs !== twin.told.minRttUs, 'a wide update that would have been narrow');
    twin.told = totals;
    this.#book(twin.open, totals, undefined);
  }

  #close({ handle, totals, reason }: layout.Close): void {
    const twin = this.#twin(handle);
    assert(FIELDS.every((field) => totals[field] >= twin.told[field]));
    assert(reason > CloseReason.None && reason <= CloseReason.TimedOut);
    this.#book(twin.open, totals, undefined);
    twin.closed = true;
    this.#closing.push(handle);
  }

  #once({ open, totals, reason, handshakeUs, endTimeNs }: layout.Once): void {
    this.onces++;
    this.#checkReferences(open.process, open.addressSpace);
    assert.equal(open.handle, 0);
    assert.equal(open.flags, 0);
    for (const { open: other } of this.#twins.values())
      assert(
        open.joinKey === 0n || other.joinKey !== open.joinKey || other.role !== open.role,
        'Once of a socket with a handle',
      );
    if (reason < CloseReason.ConnectRefused)
      return this.#bookOnce(open, totals, handshakeUs, reason, endTimeNs - open.startTimeNs);
    if (this.#failed.has(open.cookie)) return;
    this.#failed.add(open.cookie);
    this.#staged.failures.set(reason, (this.#staged.failures.get(reason) ?? 0) + 1);
  }

  /** A repeat of a socket that is known says nothing new. */
  #bookOnce(open: Open, totals: Totals, handshakeUs: number, reason: number, durationNs: bigint): void {
    if (!this.#flows.has(endOf(open))) {
      const { tallies } = this.#staged;
      const kind = open.role === Role.Client ? layout.TallyKind.HandshakeServer : layout.TallyKind.HandshakeClient;
      if (handshakeUs > 0 && open.role !== Role.Unknown)
        addTally(tallies, tallyKey(kind, 0), 1n, BigInt(handshakeUs) * 1000n);
      addTally(tallies, tallyKey(layout.TallyKind.Duration, reason), 1n, durationNs);
    }
    this.#book(open, totals, undefined);
  }

  #fold(fold: layout.Fold): void {
    this.folds++;
    this.#checkReferences(fold.process, fold.addressSpace);
    assert(
      FIELDS.every((field) => fold.last[field] >= fold.totals[field]),
      'a fold adds more than its sockets ever told',
    );
    addSums(this.#staged, fold.totals);
    this.#staged.connections += fold.connections;
    for (const [index, field] of (['refused', 'timedOut', 'abandoned', 'unreachable', 'other'] as const).entries()) {
      const reason = CloseReason.ConnectRefused + index;
      if (fold[field] > 0) this.#staged.failures.set(reason, (this.#staged.failures.get(reason) ?? 0) + fold[field]);
    }
  }

  /** Books what `totals` say beyond what is booked. `base`: where counting starts when the flow is news. */
  #book(open: Open, totals: Sums, base: Sums | undefined): void {
    let flow = this.#flows.get(endOf(open));
    if (flow === undefined) {
      flow = { booked: pick(base ?? zeroSums()), counted: false, settled: false };
      this.#flows.set(endOf(open), flow);
      if ((open.flags & OpenFlags.Existing) === 0) this.#staged.connections++;
    }
    for (const field of FIELDS) {
      if (totals[field] <= flow.booked[field]) continue;
      this.#staged[field] += totals[field] - flow.booked[field];
      flow.booked[field] = totals[field];
    }
    this.#stagedTotals.set(endOf(open), { ...flow.booked });
  }

  #windowEnd({ window, fromWindow }: layout.WindowEnd): void {
    assert(window >= this.#nextWindow && fromWindow <= window);
    this.#nextWindow = window + 1;
    this.#takenWindow = window;
    for (const twin of this.#twins.values()) assert(!twin.baselineDue);
    this.#windows.push({ window, truth: this.#staged, totals: this.#stagedTotals });
    for (const handle of this.#closing) {
      this.#twins.delete(handle);
      this.#retired.push({ handle, window });
    }
    this.#closing = [];
    this.#staged = emptyTruth();
    this.#stagedTotals = new Map();
  }
}

/** A socket may have several connections, and both ends of one may be on this host. */
function endOf({ joinKey, cookie }: Open): bigint {
  return (joinKey << 64n) | cookie;
}

function addTruth(to: Truth, part: Truth): void {
  addSums(to, part);
  to.connections += part.connections;
  for (const [key, { count, sum }] of part.tallies) addTally(to.tallies, key, count, sum);
  for (const [reason, count] of part.failures) to.failures.set(reason, (to.failures.get(reason) ?? 0) + count);
}

function pick(totals: Sums): Sums {
  const sums = zeroSums();
  addSums(sums, totals);
  return sums;
}
