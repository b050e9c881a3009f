// Watches an agent's channel from outside, frame by frame: what the protocol promises of credit, receipts and immutability.

import { decodeControl } from '../../host/wire/control.ts';
import { FrameDecoder } from '../../host/wire/frame-decoder.ts';
import { FRAME_HEADER_SIZE, FrameKind } from '../../host/wire/gen/wire-layout.ts';

/** docs/protocol.md, section 6. */
const SMALL_FRAME_COST_BYTES = 256;

interface SentFrame {
  bytes: Uint8Array;
  costBytes: number;
}

export class ChannelMonitor {
  /** Broken promises, in words. */
  readonly broken: string[] = [];
  /** Windows that were told, channel by channel. */
  readonly toldWindows: number[][] = [];
  #lastWindow: number | undefined;
  #isNonsenseExpected = false;
  #frames = new Map<number, SentFrame>();
  #inFlightBytes = 0;
  #grantBytes = 0;
  #sentSeq = 0;
  #receivedSeq = 0;
  #decoder = new FrameDecoder();

  connected(): void {
    this.#decoder = new FrameDecoder();
  }

  welcomed(resume: boolean, grantBytes: number): void {
    this.#grantBytes = grantBytes;
    this.#inFlightBytes = 0;
    if (resume) return;
    this.#lastWindow = undefined;
    this.toldWindows.push([]);
    this.#frames.clear();
    this.#sentSeq = 0;
    this.#receivedSeq = 0;
  }

  sent(bytes: Uint8Array): void {
    const decoder = new FrameDecoder();
    decoder.push(bytes);
    const frame = decoder.next();
    if (frame === undefined) return void this.broken.push('half a frame was sent');
    if (frame.kind === FrameKind.Hello) return;
    const before = this.#frames.get(frame.seq);
    if (before !== undefined && Buffer.compare(before.bytes, bytes) !== 0)
      this.broken.push(`frame ${frame.seq} changed after it was sent`);
    if (before === undefined && frame.seq !== this.#sentSeq + 1)
      this.broken.push(`frame ${frame.seq} was sent after ${this.#sentSeq}`);
    const costBytes = Math.max(SMALL_FRAME_COST_BYTES, FRAME_HEADER_SIZE + frame.payload.length);
    this.#frames.set(frame.seq, { bytes, costBytes });
    this.#sentSeq = Math.max(this.#sentSeq, frame.seq);
    this.#inFlightBytes += costBytes;
    if (before === undefined && frame.kind === FrameKind.WindowEnd) this.#windowEnd(frame.payload);
    if (this.#inFlightBytes > this.#grantBytes)
      this.broken.push(`${this.#inFlightBytes} bytes in flight, ${this.#grantBytes} granted`);
  }

  received(piece: Uint8Array): void {
    this.#decoder.push(piece);
    for (let frame = this.#decoder.next(); frame !== undefined; frame = this.#decoder.next()) {
      if (frame.kind === FrameKind.Received) this.#release(decodeControl('Received', frame.payload)?.seq ?? 0);
    }
  }

  /** Fate forges a receipt. */
  expectNonsense(): void {
    this.#isNonsenseExpected = true;
  }

  /** A connection ended; some reasons are nobody's fault. */
  lost(reason: string, detail: string): void {
    if (reason === 'impossible_receipt' && this.#isNonsenseExpected) return;
    const isFault = reason === 'refused' || reason === 'unusable_welcome' || reason === 'impossible_receipt';
    const isGoodbye = reason === 'goodbye' && detail !== 'ReducerStopping' && detail !== 'DuplicateAgent';
    if (isFault || isGoodbye) this.broken.push(`${reason} ${detail}`);
  }

  /** Windows are told one after another: what is left out is covered by the next. */
  #windowEnd(payload: Uint8Array): void {
    const end = decodeControl('WindowEnd', payload);
    if (end === undefined) return void this.broken.push('a malformed WindowEnd was sent');
    if (this.#lastWindow !== undefined && (end.window <= this.#lastWindow || end.fromWindow > this.#lastWindow + 1))
      this.broken.push(`windows ${end.fromWindow} to ${end.window} were told after ${this.#lastWindow}`);
    this.#lastWindow = end.window;
    this.toldWindows.at(-1)?.push(end.window);
  }

  #release(seq: number): void {
    if (seq > this.#sentSeq && this.#isNonsenseExpected) return;
    if (seq > this.#sentSeq) this.broken.push(`frame ${seq} was received, ${this.#sentSeq} was sent`);
    for (; this.#receivedSeq < seq; this.#receivedSeq++) {
      const frame = this.#frames.get(this.#receivedSeq + 1);
      this.#frames.delete(this.#receivedSeq + 1);
      this.#inFlightBytes = Math.max(0, this.#inFlightBytes - (frame?.costBytes ?? 0));
    }
  }
}
