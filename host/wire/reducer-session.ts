/**
 * What a reducer keeps of one session, whatever connection carries it: which frames it has, those that wait to be consumed, and which of
 * the session's windows are sealed and committed. It outlives connections, so what has arrived is consumed even when the agent is gone.
 */
import { strict as assert } from 'node:assert';
import { decodeControl } from './control.ts';
import { frameCostBytes } from './frame.ts';
import type { Frame } from './frame-decoder.ts';
import type { FrameMemory } from './frame-memory.ts';
import { type Committed, FrameKind, type Listener } from './gen/wire-layout.ts';
import type { Hello } from './gen/wire-tables.ts';
import { decodeListeners } from './listeners.ts';
import { decodeLosses } from './losses.ts';
import { type Refusal, RefusalCounters } from './refusal.ts';
import { SealedWindows } from './sealed-windows.ts';

/** More refused frames than this, over all connections, end the session. */
export const FRAMES_REFUSED_MAX = 1_000;

const NO_BYTES = new Uint8Array(0);
/** What only flows towards agents, and Hello, which comes once. */
const KINDS_TOWARDS_AGENT: ReadonlySet<number> = new Set([
  FrameKind.Hello,
  FrameKind.Welcome,
  FrameKind.Received,
  FrameKind.Sealed,
  FrameKind.Committed,
]);

interface QueuedFrame {
  seq: number;
  /** Header and payload; empty for what is not consumed: a refused frame, a Goodbye. */
  bytes: Uint8Array;
  costBytes: number;
  goodbyeReason: number | undefined;
  /** Of nobody else, to be used again. */
  memory: Uint8Array<ArrayBuffer> | undefined;
}

export interface ReducerSessionOptions {
  hello: Hello;
  /** Granted to the agent; also the most that the queue holds. */
  creditBytes: number;
  /** Where the memory of consumed frames goes. */
  memory?: FrameMemory;
}

export class ReducerSession {
  readonly hello: Hello;
  readonly creditBytes: number;
  readonly refused = new RefusalCounters();
  readonly sealed = new SealedWindows();
  readonly #memory: FrameMemory | undefined;
  #queue: QueuedFrame[] = [];
  #queueFirst = 0;
  #queuedBytes = 0;
  #queuedSeq = 0;
  #consumedSeq = 0;
  #committed: Committed = { window: 0, closedWindow: 0 };
  #takenWindow: number | undefined;
  #isDeparting = false;
  #newListeners: Listener[] | undefined;
  #newListenersOmitted: number | undefined;
  /** agentTimeNs of the newest WindowEnd, to be echoed. */
  echoNs = 0n;
  /** Frames that came in their place in the sequence, and those that had come before. accepted + refused + repeated = sent. */
  framesAccepted = 0;
  framesRepeated = 0;
  /** Reason of the agent's Goodbye once everything before it has been consumed. */
  goodbyeReason: number | undefined;

  constructor({ hello, creditBytes, memory }: ReducerSessionOptions) {
    this.#memory = memory;
    this.hello = hello;
    this.creditBytes = creditBytes;
  }

  /** A channel that starts anew for the same session: what was taken, sealed and committed of it before still is. */
  inherit(before: ReducerSession, takenWindow: number): void {
    this.#takenWindow = Math.max(takenWindow, before.takenWindow ?? 0);
    this.#committed = before.committed;
    for (const pair of before.sealed.list()) this.sealed.seal(pair);
  }

  /** Cost of the frames that were not consumed yet, bytes. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get hasQueued(): boolean {
    return this.#queueFirst < this.#queue.length;
  }

  /** What Received confirms. */
  get receivedSeq(): number {
    return this.#consumedSeq;
  }

  /** What earlier channels told up to this window is booked or will be, and nothing beyond it; undefined on the first channel. */
  get takenWindow(): number | undefined {
    return this.#takenWindow;
  }

  get committed(): Readonly<Committed> {
    return this.#committed;
  }

  /** Takes the next frame of the channel into the queue. Returns the reason when the connection cannot go on. */
  receive(frame: Frame): Refusal | undefined {
    if (frame.seq <= this.#queuedSeq) {
      this.framesRepeated++;
      return undefined;
    }
    if (frame.seq > this.#queuedSeq + 1) return this.#refuse('seq_gap');
    const costBytes = frameCostBytes(frame.payload.length);
    if (this.#queuedBytes + costBytes > this.creditBytes) return this.#refuse('credit_exceeded');
    this.#queuedSeq = frame.seq;
    const refusal = this.#frameRefusal(frame);
    if (refusal === undefined) this.framesAccepted++;
    else this.#refuse(refusal);
    this.#queuedBytes += costBytes;
    const kept = refusal === undefined ? this.#keep(frame) : { bytes: NO_BYTES, memory: undefined };
    this.#queue.push({ seq: frame.seq, ...kept, costBytes, goodbyeReason: undefined });
    if (refusal === undefined) this.#note(frame);
    this.consume(0);
    return this.refused.total > FRAMES_REFUSED_MAX ? this.#refuse('quarantined') : undefined;
  }

  /** Copies whole frames, oldest first, until the next would not fit. Room for FRAME_BYTES_MAX always makes progress. Returns bytes. */
  copyQueuedInto(target: Uint8Array): number {
    let byteCount = 0;
    for (let index = this.#queueFirst; index < this.#queue.length; index++) {
      const { bytes } = this.#queue[index];
      if (byteCount + bytes.length > target.length) break;
      target.set(bytes, byteCount);
      byteCount += bytes.length;
    }
    return byteCount;
  }

  /** The first `byteCount` bytes of what is queued, whole frames, have been consumed. Frames without bytes that follow go with them. */
  consume(byteCount: number): void {
    let left = byteCount;
    while (this.hasQueued && this.#queue[this.#queueFirst].bytes.length <= left) {
      const { seq, bytes, costBytes, goodbyeReason, memory } = this.#queue[this.#queueFirst];
      left -= bytes.length;
      // `bytes` may have none behind this.
      if (memory !== undefined) this.#memory?.give(memory);
      this.#queuedBytes -= costBytes;
      this.#consumedSeq = seq;
      this.#queueFirst++;
      this.goodbyeReason ??= goodbyeReason;
    }
    assert(left === 0, `${left} bytes were consumed that are no whole frame`);
    if (this.#queueFirst * 2 >= this.#queue.length) {
      this.#queue.splice(0, this.#queueFirst);
      this.#queueFirst = 0;
    }
  }

  /** The listening sockets of the host, when they were told since the last call. */
  takeListeners(): Listener[] | undefined {
    const listeners = this.#newListeners;
    this.#newListeners = undefined;
    return listeners;
  }

  /** How many more sockets of the host listen, when that was told since the last call. */
  takeListenersOmitted(): number | undefined {
    const omitted = this.#newListenersOmitted;
    this.#newListenersOmitted = undefined;
    return omitted;
  }

  /** The exporters succeeded for `closedWindow`. True when that commits a window of this session that was not. */
  commit(closedWindow: number): boolean {
    const pair = this.sealed.commit(closedWindow);
    if (pair === undefined) return false;
    this.#committed = pair;
    return true;
  }

  /** A frame that fills its piece is part of it; those that span pieces are nobody else's. */
  #keep({ bytes, isBorrowed, memory: own }: Frame): Pick<QueuedFrame, 'bytes' | 'memory'> {
    if (!isBorrowed) return { bytes, memory: own };
    const memory = this.#memory?.take(bytes.length);
    if (memory === undefined) return { bytes: new Uint8Array(bytes), memory };
    memory.set(bytes);
    return { bytes: memory.subarray(0, bytes.length), memory };
  }

  #frameRefusal(frame: Frame): Refusal | undefined {
    if (frame.refusal !== undefined) return frame.refusal;
    if (this.#isDeparting) return 'after_goodbye';
    if (KINDS_TOWARDS_AGENT.has(frame.kind)) return 'direction';
    if (frame.kind === FrameKind.Goodbye && decodeControl('Goodbye', frame.payload) === undefined) return 'malformed';
    if (frame.kind === FrameKind.Listener && decodeListeners(frame.payload) === undefined) return 'malformed';
    if (frame.kind === FrameKind.Loss && decodeLosses(frame.payload) === undefined) return 'malformed';
    return undefined;
  }

  #note({ kind, payload }: Frame): void {
    if (kind === FrameKind.WindowEnd) this.echoNs = decodeControl('WindowEnd', payload)?.agentTimeNs ?? this.echoNs;
    if (kind === FrameKind.Listener) this.#newListeners = decodeListeners(payload);
    if (kind === FrameKind.Loss) this.#newListenersOmitted = decodeLosses(payload)?.Listeners ?? 0;
    if (kind !== FrameKind.Goodbye) return;
    this.#isDeparting = true;
    const last = this.#queue[this.#queue.length - 1];
    last.bytes = NO_BYTES;
    last.goodbyeReason = decodeControl('Goodbye', payload)?.reason;
  }

  #refuse(refusal: Refusal): Refusal {
    this.refused.count(refusal);
    return refusal;
  }
}
