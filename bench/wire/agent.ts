// Five windows of one agent, told by agent.wasm, each of one kind of record: sockets that open, that move for the first time (their least round trip is new,
// so the update is wide), that move again, that close, and others that live inside one window.

import { AgentCore } from '../../host/agent/agent-core.ts';
import { encodeEvents, ipv4 } from '../../host/agent/testing/kernel-event.ts';
import type { Payload } from '../../host/wire/channel-sender.ts';
import { CloseReason, KernelEventType, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import { FrameKind } from '../../host/wire/gen/wire-layout.ts';
import { Random } from '../../schemas/testing/random.ts';
import { cpuNs } from '../lib/cpu-clock.ts';

export const KINDS = ['Open', 'UpdateWide', 'UpdateNarrow', 'Close', 'Once'] as const;
export type Kind = (typeof KINDS)[number];

export const WINDOW_NS = 10_000_000_000n;
export const FIRST_WINDOW = 1_000;

export interface ToldWindow {
  kind: Kind;
  window: number;
  /** Of records, in the order in which they were told; what else a window has (names, its end) is in `before` and `end`. */
  payloads: Payload[];
  before: Payload[];
  end: Payload;
  encodeNs: number;
}

/** What the kernel says of one socket that is not the same for all. */
type ToldSocket = Pick<
  SocketEvent,
  | 'type'
  | 'timeNs'
  | 'cookie'
  | 'joinKey'
  | 'startTimeNs'
  | 'bytesSent'
  | 'bytesReceived'
  | 'segmentsSent'
  | 'segmentsReceived'
  | 'retransmits'
  | 'srttUs'
  | 'minRttUs'
  | 'ownerPid'
  | 'localPort'
  | 'remotePort'
  | 'closeReason'
  | 'remoteAddress'
>;

const EVENTS_PER_CALL = 1_000;
const SEGMENT_BYTES = 1_448;
const CONTEXT = { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };
/** A close has the tally of its duration with it. */
const RECORD_KINDS: readonly number[] = [...KINDS.map((kind) => FrameKind[kind]), FrameKind.Tally];

export class WireAgent {
  readonly #core: AgentCore;
  readonly #random = new Random(1);
  readonly #sockets: number;
  #cookie = 1n;
  #window = FIRST_WINDOW;
  #events: ToldSocket[] = [];

  constructor(module: WebAssembly.Module, sockets: number) {
    this.#sockets = sockets;
    const options = { hashSeed: [1n, 2n] as const, windowNs: WINDOW_NS, addressSpace: 'default', boot: 'boot' };
    this.#core = new AgentCore({ module, ...options }, { nameProcess: () => undefined });
  }

  /** What a reducer has to know first. */
  snapshot(): Payload[] {
    return this.#core.encodeSnapshot(FIRST_WINDOW, 1n, 0n);
  }

  /** The next five windows, in the order of KINDS. Each is committed before the next one. */
  *round(): Generator<ToldWindow> {
    this.#events = Array.from({ length: this.#sockets }, () => this.#opened());
    yield this.#tell('Open');
    for (const event of this.#events) this.#move(event);
    yield this.#tell('UpdateWide');
    for (const event of this.#events) this.#move(event);
    yield this.#tell('UpdateNarrow');
    for (const event of this.#events) this.#close(event);
    yield this.#tell('Close');
    this.#events = Array.from({ length: this.#sockets }, () => this.#close(this.#move(this.#opened())));
    yield this.#tell('Once');
  }

  #tell(kind: Kind): ToldWindow {
    for (let at = 0; at < this.#events.length; at += EVENTS_PER_CALL)
      this.#core.events(encodeEvents(...this.#events.slice(at, at + EVENTS_PER_CALL)));
    const window = this.#window++;
    const start = cpuNs();
    const told = this.#core.encodeWindow(window, CONTEXT);
    const encodeNs = cpuNs() - start;
    this.#core.commit(window);
    const payloads = told.filter((payload) => RECORD_KINDS.includes(payload.kind));
    const before = told.slice(0, -1).filter((payload) => !RECORD_KINDS.includes(payload.kind));
    return { kind, window, payloads, before, end: told[told.length - 1], encodeNs };
  }

  #opened(): ToldSocket {
    const random = this.#random;
    const cookie = this.#cookie++;
    const startTimeNs = this.#now();
    return {
      ...{ bytesSent: 0n, bytesReceived: 0n, segmentsSent: 0, segmentsReceived: 0, retransmits: 0 },
      ...{ srttUs: 0, minRttUs: 0, closeReason: 0, type: KernelEventType.SocketOpen },
      cookie,
      joinKey: (BigInt(random.uint32()) << 32n) | BigInt(random.uint32()),
      startTimeNs,
      timeNs: startTimeNs,
      ownerPid: 100 + random.below(20),
      localPort: 32_768 + random.below(28_232),
      remotePort: random.pick([443, 5_432, 6_379, 8_080]),
      remoteAddress: ipv4(10, 0, random.below(4), random.below(256)),
    };
  }

  /** A request of some hundred bytes, an answer of up to some hundred segments. */
  #move(event: ToldSocket): ToldSocket {
    const random = this.#random;
    const sent = 100 + random.below(900);
    const received = 1 << random.below(18);
    event.type = KernelEventType.SocketTotals;
    event.bytesSent += BigInt(sent);
    event.bytesReceived += BigInt(received);
    event.segmentsSent += 1 + Math.ceil(received / SEGMENT_BYTES / 2);
    event.segmentsReceived += Math.ceil(received / SEGMENT_BYTES);
    event.retransmits += random.chance(0.01) ? 1 : 0;
    event.minRttUs ||= 100 + random.below(900);
    event.srttUs = event.minRttUs + random.below(2_000);
    return event;
  }

  #close(event: ToldSocket): ToldSocket {
    event.type = KernelEventType.SocketClose;
    event.closeReason = CloseReason.Closed;
    event.timeNs = this.#now() + 1_000n;
    return event;
  }

  /** Some moment of the window. */
  #now(): bigint {
    return BigInt(this.#window) * WINDOW_NS + BigInt(this.#random.below(Number(WINDOW_NS / 1_000n))) * 1_000n;
  }
}
