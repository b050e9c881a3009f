/**
 * The network between one agent and the reducer. A connection is two ordered streams of bytes with delays; a cut holds everything back
 * in both directions, silently, and what waited goes on after it, as TCP would retransmit it. Each end learns that the other is gone at its
 * own time, and never during a cut.
 */
import type { Random } from './random.ts';
import type { Schedule } from './schedule.ts';

/** One end of a connection as the program that holds it sees it. */
export interface EndEvents {
  bytes(piece: Uint8Array): void;
  closed(): void;
}

/** What stands at the reducer's address: undefined refuses the connection. */
export type Listener = (connection: LinkConnection) => EndEvents | undefined;

const DELAY_MS_MAX = 40;
const REFUSED_MS = 5;
const HEAL_DELAY_MS = 20;
/** Most pieces arrive whole; a few are torn. */
const TEAR_CHANCE = 0.1;

class Stream {
  readonly #link: Link;
  readonly #deliver: (piece: Uint8Array) => void;
  /** Has come as far as a cut lets it. */
  #held: Uint8Array[] = [];
  #lastMs = 0;
  #isEnded = false;

  constructor(link: Link, deliver: (piece: Uint8Array) => void) {
    this.#link = link;
    this.#deliver = deliver;
  }

  send(bytes: Uint8Array): void {
    const { random } = this.#link;
    if (bytes.length < 2 || !random.chance(TEAR_CHANCE)) return this.#sendPiece(bytes);
    const at = random.between(1, bytes.length - 1);
    this.#sendPiece(bytes.subarray(0, at));
    this.#sendPiece(bytes.subarray(at));
  }

  /** Nothing of it arrives any more. */
  end(): void {
    this.#isEnded = true;
  }

  #sendPiece(piece: Uint8Array): void {
    const { schedule } = this.#link;
    this.#lastMs = Math.max(this.#lastMs, schedule.nowMs + this.#link.delayMs());
    schedule.at(this.#lastMs, () => {
      this.#held.push(piece);
      if (this.#held.length === 1) this.#release();
    });
  }

  #release(): void {
    if (this.#link.isCut) return this.#link.afterCut(() => this.#release());
    for (const piece of this.#held.splice(0)) if (!this.#isEnded) this.#deliver(piece);
  }
}

export class LinkConnection {
  readonly #link: Link;
  readonly #toReducer: Stream;
  readonly #toAgent: Stream;
  #agent: EndEvents | undefined;
  #reducer: EndEvents | undefined;
  /** What arrived before may still be waiting at an end that sleeps. */
  isReset = false;

  constructor(link: Link, agent: EndEvents, listener: Listener) {
    this.#link = link;
    this.#agent = agent;
    this.#toReducer = new Stream(link, (piece) => this.#reducer?.bytes(piece));
    this.#toAgent = new Stream(link, (piece) => this.#agent?.bytes(piece));
    this.#reducer = listener(this);
  }

  get isRefused(): boolean {
    return this.#reducer === undefined;
  }

  /** The agent's program holds its end. */
  get isHeldByAgent(): boolean {
    return this.#agent !== undefined;
  }

  sendToReducer(bytes: Uint8Array): void {
    this.#toReducer.send(bytes);
  }

  sendToAgent(bytes: Uint8Array): void {
    this.#toAgent.send(bytes);
  }

  /** The agent's program closes it, or is gone. What it sent before may still arrive. */
  closeAtAgent(): void {
    this.#agent = undefined;
    this.#tell(() => this.#end('reducer'));
  }

  closeAtReducer(): void {
    this.#reducer = undefined;
    this.#tell(() => this.#end('agent'));
  }

  /** A reset by something in between; `half`: only one end hears of it, the other sends into nothing. */
  reset(half: 'agent' | 'reducer' | undefined): void {
    this.isReset = true;
    this.#toAgent.end();
    this.#toReducer.end();
    if (half !== 'reducer') this.#tell(() => this.#end('agent'));
    if (half !== 'agent') this.#tell(() => this.#end('reducer'));
  }

  #end(which: 'agent' | 'reducer'): void {
    const events = which === 'agent' ? this.#agent : this.#reducer;
    if (which === 'agent') this.#agent = undefined;
    else this.#reducer = undefined;
    events?.closed();
  }

  #tell(end: () => void): void {
    // Behind what was sent before: a program that closes has its last bytes delivered.
    const { schedule } = this.#link;
    const run = (): void => (this.#link.isCut ? this.#link.afterCut(run) : end());
    schedule.after(DELAY_MS_MAX + 1, run);
  }
}

export class Link {
  readonly schedule: Schedule;
  readonly random: Random;
  /** The newest connection. */
  connection: LinkConnection | undefined;
  #healsAtMs = -Infinity;

  constructor(schedule: Schedule, random: Random) {
    this.schedule = schedule;
    this.random = random;
  }

  get isCut(): boolean {
    return this.schedule.nowMs < this.#healsAtMs;
  }

  delayMs(): number {
    return this.random.next() ** 2 * DELAY_MS_MAX;
  }

  cut(forMs: number): void {
    this.#healsAtMs = Math.max(this.#healsAtMs, this.schedule.nowMs + forMs);
  }

  heal(): void {
    this.#healsAtMs = -Infinity;
  }

  afterCut(run: () => void): void {
    this.schedule.at(this.#healsAtMs + HEAL_DELAY_MS, run);
  }

  /** `connected` or `agent.closed` follows; neither while the link is cut. */
  connect(agent: EndEvents, listener: Listener, connected: (connection: LinkConnection) => void): void {
    const attempt = (): void => {
      // Nobody retransmits a SYN for long: the agent gives up first.
      if (this.isCut) return;
      const connection = new LinkConnection(this, agent, listener);
      if (connection.isRefused) {
        this.schedule.after(REFUSED_MS, () => agent.closed());
        return;
      }
      this.connection = connection;
      connected(connection);
    };
    this.schedule.after(1 + this.delayMs(), attempt);
  }
}
