/**
 * The reducer's end of one connection (docs/protocol.md, sections 2, 6 and 9). No socket, timer or clock: what happened goes in, what to do
 * comes out. What it says is the state of its session, newest value only, so a peer that reads slowly costs no memory.
 *
 *   greeting ──Hello──▶ deciding ──welcome()──▶ open      each ──▶ closed
 */
import type { Instant } from '../lib/clock.ts';
import { encodeControl, PROTOCOL_VERSION } from './control.ts';
import { encodeFrame, FRAME_BYTES_MAX } from './frame.ts';
import { type Frame, FrameDecoder } from './frame-decoder.ts';
import type { FrameMemory } from './frame-memory.ts';
import { FrameKind, GoodbyeReason } from './gen/wire-layout.ts';
import { decodeHello, type Hello } from './gen/wire-tables.ts';
import type { ReducerSession } from './reducer-session.ts';
import { type Refusal, RefusalCounters } from './refusal.ts';

/** The greatest first frame, header included. */
export const HELLO_BYTES_MAX = 16_384;
const HELLO_TIMEOUT_MS = 5_000;
const HEARTBEAT_MS = 1_000;
/** A peer that takes nothing for this long has given up on us long ago. */
const BLOCKED_MS_MAX = 10_000;
/** An agent tells the end of each window, also when idle. A host that lost its power says nothing, and TCP notices only after minutes. */
const SILENCE_WINDOWS_MAX = 3;
const SILENCE_MS_MIN = 15_000;

export type CloseReason = Refusal | 'disconnected' | 'goodbye';

export type ReducerAction =
  /** Decide, now or later, with `welcome` or `goodbye`. `payload`: the verified Hello as it came. */
  | { kind: 'hello'; hello: Hello; payload: Uint8Array }
  /** The session's queue has changed: consume what can be consumed, look at `goodbyeReason`, then call `report`. */
  | { kind: 'frames' }
  | { kind: 'send'; bytes: Uint8Array }
  | { kind: 'close'; reason: CloseReason };

export interface WelcomeTerms {
  session: ReducerSession;
  /** The session is known: the agent goes on after what was consumed. Otherwise it starts with a snapshot. */
  resume: boolean;
  incarnation: bigint;
  windowNs: bigint;
  latenessNs: bigint;
  openWindow: number;
  committedClosedWindow: number;
  /** For how long Hello has waited for the answer, milliseconds: no part of the round trip that the agent measures. */
  heldMs: number;
}

export class ReducerChannel {
  /** Why the connection was cut off, and what was refused before there was a session. A session counts its own frames. */
  readonly refused = new RefusalCounters();
  readonly #decoder: FrameDecoder;
  #state: 'greeting' | 'deciding' | 'open' | 'closed' = 'greeting';
  #actions: ReducerAction[] = [];
  readonly #startMs: number;
  #helloTimeNs = 0n;
  #session: ReducerSession | undefined;
  #heardMs: number;
  /** When the peer last sent something, or had to wait for its frames to be consumed. */
  #quietSinceMs: number;
  #silenceMsMax = Infinity;
  #blockedSinceMs: number | undefined;
  /** What this connection has been told. */
  #toldMs = -Infinity;
  #toldSeq = 0;
  #toldEchoNs = 0n;
  #toldSealed = 0;
  #toldCommitted = 0;

  /** `memory`: for frames that come in pieces; the session must have the same. */
  constructor(now: Instant, memory?: FrameMemory) {
    this.#decoder = new FrameDecoder(HELLO_BYTES_MAX, memory);
    this.#startMs = now.ms;
    this.#heardMs = now.ms;
    this.#quietSinceMs = now.ms;
  }

  get session(): ReducerSession | undefined {
    return this.#session;
  }

  /** When the peer last sent anything, on the clock of Instant.ms. */
  get heardMs(): number {
    return this.#heardMs;
  }

  bytes(piece: Uint8Array, now: Instant): ReducerAction[] {
    if (this.#state === 'closed') return [];
    this.#heardMs = now.ms;
    this.#quietSinceMs = now.ms;
    this.#decoder.push(piece);
    let received = false;
    for (let frame = this.#decoder.next(); frame !== undefined; frame = this.#decoder.next()) {
      received = this.#frame(frame) || received;
      if (this.#isClosed()) break;
    }
    if (received) this.#actions.push({ kind: 'frames' });
    if (this.#decoder.broken !== undefined && !this.#isClosed()) this.#refuse(this.#decoder.broken);
    if (this.#session !== undefined && this.#session.echoNs !== this.#toldEchoNs) this.#report(now, true);
    return this.#take();
  }

  disconnected(): ReducerAction[] {
    this.#close('disconnected');
    return this.#take();
  }

  /** To be called a few times a second. */
  tick(now: Instant): ReducerAction[] {
    if (this.#session?.hasQueued) this.#quietSinceMs = now.ms;
    const refusal = this.#timeout(now.ms);
    if (refusal !== undefined) this.#refuse(refusal);
    else this.#report(now, now.ms - this.#toldMs >= HEARTBEAT_MS);
    return this.#take();
  }

  /** Admits the peer. From now on `session` belongs to this connection; a connection that carried it before must be closed first. */
  welcome(terms: WelcomeTerms, now: Instant): ReducerAction[] {
    if (this.#state !== 'deciding') return [];
    const { session, resume } = terms;
    this.#state = 'open';
    this.#session = session;
    this.#decoder.frameBytesMax = FRAME_BYTES_MAX;
    this.#silenceMsMax = Math.max(SILENCE_MS_MIN, (SILENCE_WINDOWS_MAX * Number(terms.windowNs)) / 1e6);
    this.#quietSinceMs = now.ms;
    this.#toldSeq = session.receivedSeq;
    this.#toldCommitted = session.committed.closedWindow;
    this.#toldSealed = 0;
    this.#toldEchoNs = session.echoNs;
    this.#toldMs = now.ms;
    const payload = encodeControl('Welcome', {
      incarnation: terms.incarnation,
      windowNs: terms.windowNs,
      latenessNs: terms.latenessNs,
      creditBytes: BigInt(session.creditBytes),
      reducerTimeNs: now.unixNs,
      agentTimeNs: this.#helloTimeNs + BigInt(Math.round(terms.heldMs * 1e6)),
      openWindow: terms.openWindow,
      committedClosedWindow: terms.committedClosedWindow,
      committedWindow: session.committed.window,
      lastReceivedSeq: resume ? session.receivedSeq : 0,
      resume: resume ? 1 : 0,
      known: session.takenWindow === undefined ? 0 : 1,
      takenWindow: session.takenWindow ?? 0,
    });
    this.#send(FrameKind.Welcome, payload);
    this.#report(now, false);
    return this.#take();
  }

  /** Tells the peer what has changed in its session since it was told last. */
  report(now: Instant): ReducerAction[] {
    this.#report(now, false);
    return this.#take();
  }

  goodbye(reason: GoodbyeReason): ReducerAction[] {
    if (this.#state === 'closed') return [];
    this.#goodbye(reason, 'goodbye');
    return this.#take();
  }

  /** The transport took no more: what the peer should know waits in the session. */
  blocked(now: Instant): void {
    this.#blockedSinceMs ??= now.ms;
  }

  drained(now: Instant): ReducerAction[] {
    this.#blockedSinceMs = undefined;
    return this.report(now);
  }

  #timeout(nowMs: number): Refusal | undefined {
    if (this.#state === 'closed') return undefined;
    if (this.#state === 'greeting' && nowMs - this.#startMs >= HELLO_TIMEOUT_MS) return 'hello_late';
    if (this.#blockedSinceMs !== undefined && nowMs - this.#blockedSinceMs >= BLOCKED_MS_MAX) return 'not_reading';
    return nowMs - this.#quietSinceMs >= this.#silenceMsMax ? 'silent' : undefined;
  }

  /** True when the session's queue has changed. */
  #frame(frame: Frame): boolean {
    if (this.#state === 'greeting') this.#hello(frame);
    else if (this.#session === undefined) this.#refuse('before_welcome');
    else return this.#receive(frame, this.#session);
    return false;
  }

  #hello({ kind, payload: bytes, refusal }: Frame): void {
    if (kind !== FrameKind.Hello) return this.#refuse('before_welcome');
    if (refusal !== undefined) return this.#refuse(refusal);
    // It waits for an answer longer than the piece stands that it came in.
    const payload = bytes.slice();
    const hello = decodeHello(payload);
    if (hello === undefined) return this.#refuse('malformed');
    if (hello.protocolVersion !== PROTOCOL_VERSION) return this.#goodbye(GoodbyeReason.ProtocolVersion, 'goodbye');
    this.#state = 'deciding';
    this.#helloTimeNs = hello.agentTimeNs;
    this.#actions.push({ kind: 'hello', hello, payload });
  }

  #receive(frame: Frame, session: ReducerSession): boolean {
    const refusal = session.receive(frame);
    if (refusal === 'quarantined') this.#goodbye(GoodbyeReason.Quarantined, refusal);
    else if (refusal !== undefined) this.#close(refusal);
    return refusal === undefined;
  }

  #report(now: Instant, isReceivedDue: boolean): void {
    const session = this.#session;
    if (session === undefined || this.#state !== 'open' || this.#blockedSinceMs !== undefined) return;
    for (const pair of session.sealed.list()) {
      if (pair.closedWindow <= this.#toldSealed) continue;
      this.#toldSealed = pair.closedWindow;
      this.#send(FrameKind.Sealed, encodeControl('Sealed', pair));
    }
    if (session.committed.closedWindow > this.#toldCommitted) {
      this.#toldCommitted = session.committed.closedWindow;
      this.#send(FrameKind.Committed, encodeControl('Committed', session.committed));
    }
    if (!isReceivedDue && session.receivedSeq === this.#toldSeq) return;
    this.#toldMs = now.ms;
    this.#toldSeq = session.receivedSeq;
    this.#toldEchoNs = session.echoNs;
    const received = { seq: this.#toldSeq, reducerTimeNs: now.unixNs, agentTimeNs: this.#toldEchoNs };
    this.#send(FrameKind.Received, encodeControl('Received', received));
  }

  #refuse(refusal: Refusal): void {
    this.refused.count(refusal);
    this.#close(refusal);
  }

  #goodbye(reason: GoodbyeReason, closeReason: CloseReason): void {
    this.#send(FrameKind.Goodbye, encodeControl('Goodbye', { reason }));
    this.#close(closeReason);
  }

  #close(reason: CloseReason): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#actions.push({ kind: 'close', reason });
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #send(kind: number, payload: Uint8Array): void {
    this.#actions.push({ kind: 'send', bytes: encodeFrame({ kind, seq: 0, payload }) });
  }

  #take(): ReducerAction[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }
}
