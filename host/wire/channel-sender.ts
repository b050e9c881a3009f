/**
 * The sending end of a channel (docs/protocol.md, sections 2 and 6): numbers frames, keeps them unchanged until they are received, and
 * sends within the credit. No socket, timer or clock: what happened goes in, the bytes to send come out.
 *
 *   #frames:  [ received, gone ) #first … [ in flight ) #sent … [ waiting for credit ) end
 */
import { strict as assert } from 'node:assert';
import { encodeFrame, frameCostBytes } from './frame.ts';

/** A frame before it has a place in a channel. */
export interface Payload {
  kind: number;
  /** One FlatBuffer, a multiple of 8 bytes. */
  payload: Uint8Array;
}

interface SequencedFrame {
  bytes: Uint8Array;
  costBytes: number;
}

export interface ChannelSenderOptions {
  zstd: boolean;
}

export class ChannelSender {
  readonly #options: ChannelSenderOptions;
  #frames: SequencedFrame[] = [];
  /** Index of the oldest frame that is kept, and of the first that was not sent on this connection. */
  #first = 0;
  #sent = 0;
  /** Sequence number of #frames[#first]. */
  #firstSeq = 1;
  #grantBytes = 0;
  #inFlightBytes = 0;
  #keptBytes = 0;

  constructor(options: ChannelSenderOptions) {
    this.#options = options;
  }

  /** Bytes that may be sent now; never negative. */
  get creditBytes(): number {
    return Math.max(0, this.#grantBytes - this.#inFlightBytes);
  }

  /** Cost of the frames that were not received yet, sent or waiting, bytes. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  get nextSeq(): number {
    return this.#firstSeq + this.#frames.length - this.#first;
  }

  /** The last frame that is known to have been received; 0 before the first. */
  get receivedSeq(): number {
    return this.#firstSeq - 1;
  }

  /** Everything that was offered has been sent. Only then is there any sense in making more. */
  get isDrained(): boolean {
    return this.#sent === this.#frames.length;
  }

  /** Frames are sent as far as the credit reaches and otherwise wait, immutable from now on. Returns the bytes to send. */
  offer(payloads: readonly Payload[]): Uint8Array[] {
    for (const { kind, payload } of payloads) {
      const bytes = encodeFrame({ kind, seq: this.nextSeq, payload, zstd: this.#options.zstd });
      const costBytes = frameCostBytes(payload.length);
      this.#frames.push({ bytes, costBytes });
      this.#keptBytes += costBytes;
    }
    return this.pump();
  }

  /** The receiver holds everything up to `seq`. Repeats and old values change nothing; false when `seq` was never sent. */
  received(seq: number): boolean {
    if (seq > this.#firstSeq + this.#sent - this.#first - 1) return false;
    this.#release(seq);
    return true;
  }

  /**
   * On a new connection of a known channel: the same frames after `receivedSeq`, in the same order. False when the receiver claims a frame
   * that was never made, or lacks one that it had confirmed: nobody can resume that channel.
   */
  resume(receivedSeq: number, grantBytes: number): boolean {
    if (receivedSeq < this.receivedSeq || receivedSeq >= this.nextSeq) return false;
    this.#grantBytes = grantBytes;
    this.#inFlightBytes = 0;
    this.#sent = this.#first;
    this.#release(receivedSeq);
    return true;
  }

  /** Forgets the channel: the next frame is number 1. */
  restart(grantBytes: number): void {
    this.#frames = [];
    this.#first = 0;
    this.#sent = 0;
    this.#firstSeq = 1;
    this.#grantBytes = grantBytes;
    this.#inFlightBytes = 0;
    this.#keptBytes = 0;
  }

  /** What waits and now fits into the credit. */
  pump(): Uint8Array[] {
    const out: Uint8Array[] = [];
    while (this.#sent < this.#frames.length) {
      const { bytes, costBytes } = this.#frames[this.#sent];
      if (costBytes > this.creditBytes) break;
      this.#inFlightBytes += costBytes;
      this.#sent++;
      out.push(bytes);
    }
    return out;
  }

  #release(seq: number): void {
    while (this.#firstSeq <= seq) {
      const { costBytes } = this.#frames[this.#first];
      if (this.#first < this.#sent) this.#inFlightBytes -= costBytes;
      else this.#sent++;
      this.#keptBytes -= costBytes;
      this.#first++;
      this.#firstSeq++;
    }
    // Moves the rest down once at least half of the array is gone: constant work per frame, however long the channel lives.
    if (this.#first * 2 >= this.#frames.length) {
      this.#frames.splice(0, this.#first);
      this.#sent -= this.#first;
      this.#first = 0;
    }
    assert(this.#inFlightBytes >= 0 && this.#keptBytes >= 0);
  }
}
