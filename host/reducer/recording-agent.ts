// A recording as the agent that made it: window by window, so that memory holds one window of each recording.
import type { Payload } from '../wire/channel-sender.ts';
import { decodeControl, encodeControl } from '../wire/control.ts';
import { viewOf } from '../wire/frame.ts';
import type { Frame } from '../wire/frame-decoder.ts';
import { FrameKind, SETTLED_OFFSET, SETTLED_SIZE } from '../wire/gen/wire-layout.ts';
import type { Hello } from '../wire/gen/wire-tables.ts';
import { RecordingReader } from '../wire/recording-reader.ts';
import { batchItems } from '../wire/struct-batch.ts';

export interface RecordedWindow {
  window: number;
  /** Up to and with its WindowEnd; the first one begins with the snapshot. */
  payloads: Payload[];
}

export class RecordingAgent {
  readonly path: string;
  readonly hello: Hello;
  readonly #reader: RecordingReader;
  /** The agent closed its books; otherwise it was killed, or is still writing. */
  saidGoodbye = false;
  windowCount = 0;
  /** Frames after the last WindowEnd: nobody knows whether that window was told whole. */
  framesUnfinished = 0;

  /** Throws UsageError when the file is no recording. */
  static async open(path: string): Promise<RecordingAgent> {
    const { reader, hello } = await RecordingReader.open(path);
    return new RecordingAgent(path, reader, hello);
  }

  private constructor(path: string, reader: RecordingReader, hello: Hello) {
    this.path = path;
    this.hello = hello;
    this.#reader = reader;
  }

  get reader(): RecordingReader {
    return this.#reader;
  }

  /** Once. */
  async *windows(): AsyncGenerator<RecordedWindow> {
    let payloads: Payload[] = [];
    for await (const frames of this.#reader.batches()) {
      for (const frame of frames) {
        if (frame.kind === FrameKind.Goodbye) this.saidGoodbye = true;
        else payloads.push({ kind: frame.kind, payload: frame.payload });
        const window = endedWindow(frame);
        if (window === undefined) continue;
        this.windowCount++;
        yield { window, payloads };
        payloads = [];
      }
    }
    this.framesUnfinished = payloads.length;
  }
}

/** The same payloads as if they had been told `shift` windows later. The first of a snapshot may not be moved before window 1. */
export function shiftWindows(payloads: readonly Payload[], shift: number): Payload[] {
  return payloads.map(({ kind, payload }) => ({ kind, payload: shiftPayload(kind, payload, shift) }));
}

function shiftPayload(kind: number, payload: Uint8Array, shift: number): Uint8Array {
  switch (kind) {
    case FrameKind.WindowEnd: {
      const end = decodeControl('WindowEnd', payload);
      return end === undefined
        ? payload
        : encodeControl('WindowEnd', { ...end, window: end.window + shift, fromWindow: end.fromWindow + shift });
    }
    case FrameKind.SnapshotBegin:
    case FrameKind.SnapshotEnd: {
      const mark = decodeControl('SnapshotBegin', payload);
      return mark === undefined ? payload : encodeControl('SnapshotBegin', { window: mark.window + shift });
    }
    case FrameKind.Settled:
      return shiftSettled(payload, shift);
    default:
      return payload;
  }
}

function shiftSettled(payload: Uint8Array, shift: number): Uint8Array {
  const shifted = payload.slice();
  const items = batchItems(shifted, SETTLED_SIZE);
  if (items === undefined) return payload;
  const view = viewOf(shifted);
  for (let index = 0; index < items.count; index++) {
    const offset = items.offset + index * SETTLED_SIZE + SETTLED_OFFSET.window;
    view.setUint32(offset, view.getUint32(offset, true) + shift, true);
  }
  return shifted;
}

function endedWindow({ kind, payload }: Frame): number | undefined {
  return kind === FrameKind.WindowEnd ? decodeControl('WindowEnd', payload)?.window : undefined;
}
