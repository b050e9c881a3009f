// A frame of a script as an agent puts it on the wire.
import { FRAME_HEADER_SIZE, FrameKind } from '../../host/wire/gen/wire-layout.ts';
import {
  announceFrame,
  baselineFrame,
  closeFrame,
  foldFrame,
  narrowFrame,
  onceFrame,
  openFrame,
  settledFrame,
  snapshotMark,
  tallyFrame,
  wideFrame,
  windowEnd,
} from '../../wasm-modules/testing/agent-frames.ts';
import type { Frame } from './script.ts';

/** The frame with sequence number `seq`. */
export function encode(frame: Frame, seq: number): Uint8Array {
  const bytes = encodeFirst(frame);
  new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER_SIZE).setUint32(8, seq, true);
  return bytes;
}

function encodeFirst(frame: Frame): Uint8Array {
  switch (frame.kind) {
    case 'announce':
      return announceFrame(frame.announce);
    case 'snapshotBegin':
      return snapshotMark(FrameKind.SnapshotBegin, frame.window);
    case 'snapshotEnd':
      return snapshotMark(FrameKind.SnapshotEnd, frame.window);
    case 'open':
      return openFrame(frame.items);
    case 'baseline':
      return baselineFrame(frame.items);
    case 'tally':
      return tallyFrame(frame.items);
    case 'once':
      return onceFrame(frame.items);
    case 'narrow':
      return narrowFrame(frame.items);
    case 'wide':
      return wideFrame(frame.items);
    case 'close':
      return closeFrame(frame.items);
    case 'fold':
      return foldFrame(frame.items);
    case 'settled':
      return settledFrame(frame.items);
    case 'windowEnd':
      return windowEnd(frame.window, frame.fromWindow);
  }
}
