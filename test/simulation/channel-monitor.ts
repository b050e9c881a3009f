// Watches an agent's channel from outside, frame by frame: what the protocol promises of credit, receipts and immutability.

import { decodeControl } from '../../host/wire/control.ts';
import { frameCostBytes } from '../../host/wire/frame.ts';
import { FrameDecoder } from '../../host/wire/frame-decoder.ts';
import { FrameKind } from '../../host/wire/gen/wire-layout.ts';

interface SentFrame {
  bytes: Uint8Array;
  costBytes: number;
}

export class ChannelMonitor {
  /** Broken promises, in words. */
  readonly broken: string[] = [];
  maxInFlightBytes = 0;
  resumes = 0;
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
    if (resume) {
      this.resumes++;
      return;
    }
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
    const costBytes = frameCostBytes(frame.payload.length);
    this.#frames.set(frame.seq, { bytes, costBytes });
    this.#sentSeq = Math.max(this.#sentSeq, frame.seq);
    this.#inFlightBytes += costBytes;
    this.maxInFlightBytes = Math.max(this.maxInFlightBytes, this.#inFlightBytes);
    if (this.#inFlightBytes > this.#grantBytes)
      this.broken.push(`${this.#inFlightBytes} bytes in flight, ${this.#grantBytes} granted`);
  }

  received(piece: Uint8Array): void {
    this.#decoder.push(piece);
    for (let frame = this.#decoder.next(); frame !== undefined; frame = this.#decoder.next()) {
      if (frame.kind === FrameKind.Received) this.#release(decodeControl('Received', frame.payload)?.seq ?? 0);
    }
  }

  /** A connection ended; some reasons are nobody's fault. */
  lost(reason: string, detail: string): void {
    const isFault = reason === 'refused' || reason === 'unusable_welcome' || reason === 'impossible_receipt';
    const isGoodbye = reason === 'goodbye' && detail !== 'ReducerStopping' && detail !== 'DuplicateAgent';
    if (isFault || isGoodbye) this.broken.push(`${reason} ${detail}`);
  }

  #release(seq: number): void {
    if (seq > this.#sentSeq) this.broken.push(`frame ${seq} was received, ${this.#sentSeq} was sent`);
    for (; this.#receivedSeq < seq; this.#receivedSeq++) {
      const frame = this.#frames.get(this.#receivedSeq + 1);
      this.#frames.delete(this.#receivedSeq + 1);
      this.#inFlightBytes = Math.max(0, this.#inFlightBytes - (frame?.costBytes ?? 0));
    }
  }
}
