// What the miniature reducer keeps of one session: it takes frames up to the end of the open window, as an aligned channel does, and checks
// that each comes once and in order.
import assert from 'node:assert/strict';
import { decodeControl } from '../control.ts';
import { FrameDecoder } from '../frame-decoder.ts';
import { FrameKind } from '../gen/wire-layout.ts';
import type { Hello } from '../gen/wire-tables.ts';
import { ReducerSession } from '../reducer-session.ts';

export const CREDIT_BYTES = 6_000;
/** What holding a frame costs at least, bytes: docs/protocol.md, section 6. */
const HELD_BYTES_MIN = 256;

export class WindowTwin {
  readonly session: ReducerSession;
  /** The last whole window that was consumed. */
  reachedWindow = 0;
  /** Names of whole windows that no closed window holds yet. */
  openWindows: string[] = [];
  #epoch: number | undefined;
  #nextFrame = 0;
  #framesConsumed = 0;

  constructor(hello: Hello) {
    this.session = new ReducerSession({ hello, creditBytes: CREDIT_BYTES });
  }

  /** Takes whole frames as long as `goesOn`, which is asked before each, and the channel need not wait. True when any was taken. */
  consume(closedWindow: number, goesOn: () => boolean): boolean {
    const target = new Uint8Array(CREDIT_BYTES);
    let isAny = false;
    while (this.session.hasQueued && this.reachedWindow <= closedWindow && goesOn()) {
      const decoder = new FrameDecoder();
      decoder.push(target.subarray(0, this.session.copyQueuedInto(target)));
      const frame = decoder.next();
      assert.ok(frame !== undefined);
      this.#take(frame.kind, frame.payload);
      this.session.consume(frame.bytes.length);
      this.#framesConsumed++;
      isAny = true;
    }
    return isAny;
  }

  /** Frames of any size that wait cost no more than the credit. */
  checkHeld(): void {
    const held = this.session.framesAccepted - this.#framesConsumed;
    assert.ok(held * HELD_BYTES_MIN <= CREDIT_BYTES, `${held} frames are held for a credit of ${CREDIT_BYTES} bytes`);
  }

  #take(kind: number, payload: Uint8Array): void {
    if (kind === FrameKind.WindowEnd) {
      this.reachedWindow = decodeControl('WindowEnd', payload)?.window ?? 0;
      this.openWindows.push(`${this.session.hello.nodeName}:${this.reachedWindow}`);
      return;
    }
    const view = new DataView(payload.buffer, payload.byteOffset);
    this.#epoch ??= view.getUint32(0, true);
    assert.equal(view.getUint32(0, true), this.#epoch, 'frames of two channels in one');
    assert.equal(view.getUint32(4, true), this.#nextFrame, 'each frame once and in order');
    this.#nextFrame++;
  }
}
