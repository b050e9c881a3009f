// Which sessions the open window still waits for (docs/protocol.md, section 4). The watermark is the least window that the connected agents
// have told; whoever was late LATE_COUNT_MAX times in a row is not waited for until it has caught up.
import type { TwinId } from './messages.ts';

/** A twin, or a session that is awaited but has not come yet. */
type MemberId = TwinId | bigint;

export const LATE_COUNT_MAX = 3;

interface Member {
  /** Not waited for in windows before this one. */
  firstWindow: number;
  reachedWindow: number;
  lateCount: number;
}

export class Watermark {
  readonly #members = new Map<MemberId, Member>();
  readonly #awaited = new Set<MemberId>();
  #openWindow: number;

  constructor(openWindow: number) {
    this.#openWindow = openWindow;
  }

  get openWindow(): number {
    return this.#openWindow;
  }

  /** Sessions that have not told the open window yet. */
  get awaitedCount(): number {
    return this.#awaited.size;
  }

  get memberCount(): number {
    return this.#members.size;
  }

  join(id: MemberId, firstWindow: number, reachedWindow: number): void {
    this.#members.set(id, { firstWindow, reachedWindow, lateCount: 0 });
    this.#await(id);
  }

  leave(twin: MemberId): void {
    this.#members.delete(twin);
    this.#awaited.delete(twin);
  }

  /** Told up to and with `window`. */
  reach(twin: TwinId, window: number): void {
    const member = this.#members.get(twin);
    if (member === undefined) return;
    member.reachedWindow = Math.max(member.reachedWindow, window);
    const hasCaughtUp = member.reachedWindow >= this.#openWindow - 1;
    if (member.lateCount >= LATE_COUNT_MAX && hasCaughtUp) member.lateCount = 0;
    this.#await(twin);
  }

  /** The open window is sealed; whoever is still awaited is late for it, unless nobody could tell it in time. The next one is open. */
  advance(couldBeTold: boolean): void {
    for (const [id, member] of this.#members) {
      if (this.#awaited.has(id)) member.lateCount += couldBeTold ? 1 : 0;
      else if (member.lateCount < LATE_COUNT_MAX) member.lateCount = 0;
    }
    this.#openWindow++;
    for (const id of this.#members.keys()) this.#await(id);
  }

  #await(id: MemberId): void {
    const member = this.#members.get(id);
    if (member === undefined) return;
    const { firstWindow, reachedWindow, lateCount } = member;
    if (lateCount < LATE_COUNT_MAX && firstWindow <= this.#openWindow && reachedWindow < this.#openWindow)
      this.#awaited.add(id);
    else this.#awaited.delete(id);
  }
}
