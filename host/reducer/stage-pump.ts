/**
 * What a worker's sessions and its stages wait for, and whose turn it is. Frames are offered in turn; a window that is being shipped, or
 * a twin that is being detached, goes first; orders of the coordinator come next, in their order; then the sealed window goes on.
 *
 *   ready ──offer──▶ told            order: seal ──▶ match ──▶ aggregate ──▶ closed
 *     ▲       └─────▶ shipping ─┐           detach ──▶ detaching
 *     └── window opened ◀───────┘
 */
import type { Instant } from '../lib/clock.ts';
import { CloseReason } from '../wire/gen/kernel-events-layout.ts';
import type { ReducerSession } from '../wire/reducer-session.ts';
import type { Mesh } from './mesh.ts';
import type { ToWorker, TwinId } from './messages.ts';
import type { ReducerWorkerCore } from './worker-core.ts';

/** Sessions that are offered in one turn, so that windows close under load, and bytes of their frames, so that none of them waits long. */
const OFFERS_PER_TURN = 64;
const OFFERED_BYTES_PER_TURN = 1 << 20;

/** A session as the stages know it. */
export interface Twin {
  id: TwinId;
  slot: number;
  session: ReducerSession;
  /** Its frames wait until this window is open. */
  firstWindow: number;
  toldWindow: number;
  isReady: boolean;
  isQuarantined: boolean;
}

export type StageOrder = ToWorker & { kind: 'seal' | 'detach' };

/** Called from `work` alone. */
export interface StageEvents {
  /** `twin.toldWindow` has risen: match has everything up to it. */
  told(twin: Twin): void;
  /** Frames of the twin were consumed. */
  progressed(twin: Twin, now: Instant): void;
  /** The stages refused too much of it. */
  quarantined(twin: Twin, now: Instant): void;
  /** The twin is forgotten, its sockets are closed. */
  detached(twin: Twin, now: Instant): void;
  /** What twins have told by now belongs to `window` or an earlier one. */
  sealing(window: number, now: Instant): void;
  closed(window: number, output: Uint8Array<ArrayBuffer>): void;
}

export interface StagePumpDependencies {
  core: ReducerWorkerCore;
  mesh: Mesh;
  events: StageEvents;
}

export class StagePump {
  readonly #core: ReducerWorkerCore;
  readonly #mesh: Mesh;
  readonly #events: StageEvents;
  readonly #twins = new Map<TwinId, Twin>();
  /** Twins with queued frames that may be taken, in turn. */
  readonly #ready: Twin[] = [];
  /** Twins in the middle of shipping a window; none may be sealed or detached meanwhile. */
  readonly #shipping = new Set<Twin>();
  /** Twins whose agent said goodbye: they end once the last window that they told has closed, whenever the Goodbye came. */
  readonly #departing = new Set<Twin>();
  /** Slots whose sockets are being closed. */
  readonly #detaching = new Set<number>();
  readonly #orders: StageOrder[] = [];
  #openWindow: number;

  constructor(openWindow: number, { core, mesh, events }: StagePumpDependencies) {
    this.#core = core;
    this.#mesh = mesh;
    this.#events = events;
    this.#openWindow = openWindow;
  }

  get twins(): ReadonlyMap<TwinId, Twin> {
    return this.#twins;
  }

  add(twin: Twin): void {
    this.#twins.set(twin.id, twin);
  }

  /** Its session has frames queued. */
  queued(twin: Twin): void {
    if (twin.isReady || twin.isQuarantined || twin.firstWindow > this.#openWindow) return;
    twin.isReady = true;
    this.#ready.push(twin);
  }

  isShipping(twin: Twin): boolean {
    return this.#shipping.has(twin);
  }

  /** The agent closed its books. False when that is known. */
  depart(twin: Twin): boolean {
    if (this.#departing.has(twin)) return false;
    this.#departing.add(twin);
    return true;
  }

  /** Nothing more is believed of this agent; its sockets are nobody's. False when that is known. */
  quarantine(twin: Twin): boolean {
    if (twin.isQuarantined) return false;
    twin.isQuarantined = true;
    this.#orders.push({ kind: 'detach', twin: twin.id, reason: CloseReason.AgentLost });
    return true;
  }

  order(order: StageOrder): void {
    this.#orders.push(order);
  }

  /** One bounded turn. True when another one may have something to do. */
  work(now: Instant): boolean {
    const received = this.#mesh.receive();
    const shipped = this.#continueShipping(now);
    const offered = this.#offerReady(now);
    const closed = this.#obey(now) || this.#closeStep();
    // A full outbox gets empty only when its last records leave too, however few they are.
    if (this.#core.isCongested) this.#mesh.flush();
    const sent = this.#mesh.send();
    return received || shipped || offered || closed || sent;
  }

  /** A slice of one twin's window, so that the frames of the others have their turn in between. */
  #continueShipping(now: Instant): boolean {
    if (!this.#core.ships) return false;
    const [slot] = this.#detaching;
    const [twin] = this.#shipping;
    if (slot !== undefined) {
      if (!this.#core.continueShipping(slot)) this.#detaching.delete(slot);
    } else if (twin !== undefined) {
      this.#shipping.delete(twin);
      if (this.#core.continueShipping(twin.slot)) this.#shipping.add(twin);
      else if (!twin.isQuarantined) this.#offer(twin, now);
    }
    return slot !== undefined || twin !== undefined;
  }

  /** An order waits only for what is being shipped, not for frames that nobody has read. */
  #offerReady(now: Instant): boolean {
    if (this.#orders.length > 0 || this.#detaching.size > 0) return false;
    let offers = 0;
    let bytes = 0;
    while (offers < OFFERS_PER_TURN && bytes < OFFERED_BYTES_PER_TURN && this.#core.takesFrames) {
      const twin = this.#ready.shift();
      if (twin === undefined) break;
      twin.isReady = false;
      if (this.#twins.get(twin.id) !== twin || twin.isQuarantined || this.#shipping.has(twin)) continue;
      bytes += twin.session.queuedBytes;
      this.#offer(twin, now);
      bytes -= twin.session.queuedBytes;
      offers++;
    }
    return offers > 0;
  }

  #offer(twin: Twin, now: Instant): void {
    const result = this.#core.offer(twin.slot, twin.session);
    this.#shipping.delete(twin);
    // What is half shipped has not been told yet, so nobody hears of it: neither the agent as received nor the coordinator as its end.
    if (result === 'shipping') return void this.#shipping.add(twin);
    const toldWindow = this.#core.toldWindow(twin.slot);
    if (toldWindow > twin.toldWindow) {
      twin.toldWindow = toldWindow;
      this.#events.told(twin);
    }
    if (result === 'more') this.queued(twin);
    if (result === 'quarantined' && this.quarantine(twin)) this.#events.quarantined(twin, now);
    this.#events.progressed(twin, now);
  }

  /** Carries out the next order once no window is half shipped or half closed. True when there was one. */
  #obey(now: Instant): boolean {
    if (this.#shipping.size > 0 || this.#detaching.size > 0 || this.#core.isMatching) return false;
    for (const twin of this.#departing) {
      if (twin.toldWindow >= this.#openWindow) continue;
      this.#detach(twin, CloseReason.AgentLost, now);
      return true;
    }
    const [order] = this.#orders;
    if (order === undefined || (order.kind === 'seal' && this.#core.isSealed)) return false;
    this.#orders.shift();
    if (order.kind === 'seal') this.#seal(order, now);
    else this.#detach(this.#twins.get(order.twin), order.reason, now);
    return true;
  }

  #seal({ window, forgotten }: ToWorker & { kind: 'seal' }, now: Instant): void {
    this.#events.sealing(window, now);
    this.#core.seal(window, forgotten);
    this.#mesh.flush();
  }

  #detach(twin: Twin | undefined, reason: number, now: Instant): void {
    if (twin === undefined) return;
    this.#twins.delete(twin.id);
    this.#departing.delete(twin);
    this.#core.detach(twin.slot, reason);
    if (this.#core.isShipping(twin.slot)) this.#detaching.add(twin.slot);
    this.#events.detached(twin, now);
  }

  #closeStep(): boolean {
    const step = this.#core.closeStep();
    if (step.kind === 'waiting') return false;
    this.#mesh.flush();
    if (step.kind === 'matched') this.#resumeTwins(step.window);
    if (step.kind !== 'working') this.#mesh.resume();
    if (step.kind === 'closed') this.#events.closed(step.window, step.output);
    return true;
  }

  #resumeTwins(matchedWindow: number): void {
    this.#openWindow = matchedWindow + 1;
    for (const twin of this.#twins.values()) if (twin.session.hasQueued) this.queued(twin);
  }
}
