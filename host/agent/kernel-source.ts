// The kernel as the agent uses it: loads and attaches the probes, adopts what is older than they are, moves events into agent.wasm.
import type { Collector, CollectorStats, HookStatus, WalkName } from '@tributary/bpf';
import type { ProcessToName } from '../wire/gen/agent-layout.ts';
import { LISTENER_EVENT_SIZE, readListenerEvent } from '../wire/gen/kernel-events-layout.ts';
import type { Listener } from '../wire/gen/wire-layout.ts';
import type { Losses } from '../wire/losses.ts';
import type { AgentCore } from './agent-core.ts';

/** Moved in one call: 2000 events of sockets. */
const BATCH_BYTES = 400 * 1024;
/** One turn drains at most the ring's own size, so that a flood cannot hold the thread. */
const BATCHES_PER_TURN = 24;

/** Closes are looked for that no counter told of, as seldom as they are rare: a socket that is not seen to close would be open for ever. */
const CENSUS_PERIOD_MS = 30_000;
/** A census takes this share of the time at most, however many sockets there are. */
const CENSUS_SHARE_MAX = 0.005;

export interface KernelLosses {
  /** Events that found the ring full. */
  events: number;
  /** Sockets whose state found no memory. */
  states: number;
  /** State changes that no program saw, as far as a later one shows them. */
  changes: number;
  /** Packets that the kernel dropped and that found no room among the counts. */
  drops: number;
  /** Datagrams that belong to no flow, because there was no room for another one. */
  datagrams: number;
  /** Times that the kernel skipped a program for which no other stands in: an owner, the cause of a reset, the kind of a retransmit or a drop is not known. */
  skips: number;
}

/** Each sees what the kernel skips the other for. */
const TWINS = ['tcp_state', 'tcp_state_again'];

export class KernelSource {
  readonly #collector: Collector;
  readonly #core: AgentCore;
  /** A walk runs beside the ring, so its events wait here until the ring is empty. */
  readonly #piece = new Uint8Array(BATCH_BYTES);
  #endsDeferred = 0;
  #opensLost = 0;
  #dnsLost = 0;
  /** Hooks were left out, or attached again, since the last reading of the totals. */
  #hasShed = false;
  #closesLost = 0;
  readonly #nowMs: () => number;
  #nextCensusMs: number;
  /** Without it nobody can say who is missing. */
  #seesLive = false;
  #countsDrops = false;
  #seesListeners = false;

  constructor(collector: Collector, core: AgentCore, nowMs = () => performance.now()) {
    this.#collector = collector;
    this.#core = core;
    this.#nowMs = nowMs;
    this.#nextCensusMs = nowMs() + CENSUS_PERIOD_MS;
  }

  /**
   * Probes first, then the scans, so that nothing falls between. Owners before adoption: a listener hands its owner on to what it accepts
   * meanwhile, and an adopted socket is told with its owner.
   */
  start(): HookStatus[] {
    const hooks = this.#collector.attach();
    this.#seesLive = hooks.some(({ hook, attached }) => hook === 'live' && attached);
    this.#countsDrops = hooks.some(({ hook, attached }) => hook === 'drops' && attached);
    this.#seesListeners = hooks.some(({ hook, attached }) => hook === 'listeners' && attached);
    this.#walk('owners');
    this.#walk('adopt');
    this.#walk('owners');
    return hooks;
  }

  /** `callback`: the ring is to be drained at once. */
  onWake(callback: () => void): void {
    this.#collector.onWake(callback);
  }

  /** Moves what waits in the ring; returns the bytes. */
  drain(): number {
    let drained = 0;
    for (let turn = 0; turn < BATCHES_PER_TURN; turn++) {
      const bytes = this.#collector.drainInto(this.#core.inbox(BATCH_BYTES));
      if (bytes === 0) break;
      this.#core.applyInbox(bytes);
      drained += bytes;
    }
    return drained;
  }

  /** The totals of every socket that moved; openings and closes that found the ring full are made up for. */
  readTotals(): void {
    const { eventsLost, endsDeferred } = this.#collector.stats();
    if (endsDeferred !== this.#endsDeferred) this.#walk('deferred');
    this.#endsDeferred = endsDeferred;
    if (eventsLost.socketOpen + eventsLost.socketAdopted !== this.#opensLost) this.#walk('adopt');
    this.#opensLost = eventsLost.socketOpen + eventsLost.socketAdopted;
    const isDue = eventsLost.socketClose !== this.#closesLost || this.#nowMs() >= this.#nextCensusMs;
    if (isDue && this.#takeCensus()) this.#closesLost = eventsLost.socketClose;
    // Of before the walk, which ends with an empty ring.
    const timeNs = process.hrtime.bigint();
    this.#walk('totals');
    // After the sockets, so that their rows are there.
    if (this.#countsDrops) this.#walk('drops');
    this.#core.settle(timeNs, this.#isDnsWhole());
    if (this.#seesListeners) this.#readListeners();
  }

  /** The module counts what found no room there; where they listen is told as it is. */
  #readListeners(): void {
    const listeners: Listener[] = [];
    this.#walk('listeners', (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let offset = 0; offset < bytes.length; offset += LISTENER_EVENT_SIZE) {
        const event = readListenerEvent(view, offset);
        const { localAddress: address, localPort: port, ipVersion, netns, ownerPid: pid, ownerComm: comm } = event;
        listeners.push({ address, port, ipVersion, netns, pid, comm });
      }
    });
    this.#core.setListeners(listeners);
  }

  /** What is missing beside events that found the ring full, since the start. */
  otherLosses(): Losses {
    const { states, changes, drops, datagrams, skips } = this.losses();
    return { SocketStates: states, Datagrams: datagrams, Drops: drops, StateChanges: changes, ProgramSkips: skips };
  }

  losses(): KernelLosses {
    const { eventsLost, statesLost, changesMissed, dropsLost, datagramsRefused, hooks } = this.#collector.stats();
    // The kprobe object has one of them only.
    const areTwins = TWINS.every((twin) => hooks.some(({ hook, attached }) => hook === twin && attached));
    const alone = hooks.filter(({ hook }) => !(areTwins && TWINS.includes(hook)));
    return {
      events: Object.values(eventsLost).reduce((sum, count) => sum + count, 0),
      states: statesLost,
      changes: changesMissed,
      drops: dropsLost,
      datagrams: datagramsRefused,
      skips: alone.reduce((sum, { skips }) => sum + skips, 0),
    };
  }

  /** Whether every DNS message since the last call came here. */
  #isDnsWhole(): boolean {
    const { dnsMessage } = this.#collector.stats().eventsLost;
    const isWhole = dnsMessage === this.#dnsLost && !this.#hasShed;
    this.#dnsLost = dnsMessage;
    this.#hasShed = false;
    return isWhole;
  }

  /** Leaves these hooks out, and attaches all others again. */
  shed(hooks: readonly string[]): void {
    this.#hasShed = true;
    this.#collector.shed(hooks);
  }

  /** While on, the time that programs run is measured, which has a price. */
  measure(isOn: boolean): void {
    this.#collector.measure(isOn);
  }

  /** What the programs took while they were measured, nanoseconds. */
  programNs(): number {
    return this.#collector.stats().hooks.reduce((sum, { runNs }) => sum + runNs, 0);
  }

  /** Name of the executable that the kernel kept of a process with a socket, for one that has ended. */
  executableOf({ pid, startTimeNs }: Pick<ProcessToName, 'pid' | 'startTimeNs'>): string | undefined {
    return this.#collector.executableOf(pid, startTimeNs);
  }

  stats(): CollectorStats {
    return this.#collector.stats();
  }

  stop(): void {
    this.#collector.close();
  }

  /** Returns false when it could not be finished, so that the next reading of the totals takes another. */
  #takeCensus(): boolean {
    if (!this.#seesLive) return true;
    const beginMs = this.#nowMs();
    this.#core.beginCensus();
    this.#walk('live');
    if (!this.#drainPast()) return false;
    this.#core.endCensus(process.hrtime.bigint());
    const endMs = this.#nowMs();
    this.#nextCensusMs = endMs + Math.max(CENSUS_PERIOD_MS, (endMs - beginMs) / CENSUS_SHARE_MAX);
    return true;
  }

  /**
   * Moves everything that is in the ring now. Returns false when it cannot: a record that another processor is still writing holds up
   * those behind it, and the close of a socket that the walk did not find may be one of them.
   */
  #drainPast(): boolean {
    const { drainedBytes, pendingBytes } = this.#collector.stats();
    const goal = drainedBytes + pendingBytes;
    for (;;) {
      const moved = this.drain();
      if (this.#collector.stats().drainedBytes >= goal) return true;
      if (moved === 0) return false;
    }
  }

  /** What the ring held before a piece was made is older, and what closed meanwhile is in the ring: it goes first. */
  #walk(name: WalkName, look?: (events: Uint8Array) => void): void {
    for (;;) {
      const bytes = this.#collector.iterate(name, this.#piece);
      this.drain();
      if (bytes === 0) return;
      this.#core.events(this.#piece.subarray(0, bytes));
      look?.(this.#piece.subarray(0, bytes));
    }
  }
}
