// Frames of the control plane as typed values: one item of one struct each. What the data plane carries stays bytes (WASM reads it).
import { viewOf } from './frame.ts';
import type { Committed, Goodbye, Received, SnapshotMark, Welcome, WindowEnd } from './gen/wire-layout.ts';
import * as layout from './gen/wire-layout.ts';
import { batchItems, encodeBatch } from './struct-batch.ts';

export const PROTOCOL_VERSION = 1;

/** Kinds that consist of one struct. Sealed and Committed name a pair of windows (docs/protocol.md, section 6). */
export interface ControlValues {
  Welcome: Welcome;
  WindowEnd: WindowEnd;
  SnapshotBegin: SnapshotMark;
  SnapshotEnd: SnapshotMark;
  Received: Received;
  Sealed: Committed;
  Committed: Committed;
  Goodbye: Goodbye;
}

interface StructCodec<T> {
  size: number;
  read(view: DataView, offset: number): T;
  write(view: DataView, offset: number, value: T): void;
}

const SNAPSHOT_MARK = {
  size: layout.SNAPSHOT_MARK_SIZE,
  read: layout.readSnapshotMark,
  write: layout.writeSnapshotMark,
};
const COMMITTED = { size: layout.COMMITTED_SIZE, read: layout.readCommitted, write: layout.writeCommitted };

const CODECS: { [Name in keyof ControlValues]: StructCodec<ControlValues[Name]> } = {
  Welcome: { size: layout.WELCOME_SIZE, read: layout.readWelcome, write: layout.writeWelcome },
  WindowEnd: { size: layout.WINDOW_END_SIZE, read: layout.readWindowEnd, write: layout.writeWindowEnd },
  SnapshotBegin: SNAPSHOT_MARK,
  SnapshotEnd: SNAPSHOT_MARK,
  Received: { size: layout.RECEIVED_SIZE, read: layout.readReceived, write: layout.writeReceived },
  Sealed: COMMITTED,
  Committed: COMMITTED,
  Goodbye: { size: layout.GOODBYE_SIZE, read: layout.readGoodbye, write: layout.writeGoodbye },
};

/** The payload of a frame of kind `FrameKind[name]`. */
export function encodeControl<Name extends keyof ControlValues>(name: Name, value: ControlValues[Name]): Uint8Array {
  const codec = CODECS[name];
  const item = new Uint8Array(codec.size);
  codec.write(viewOf(item), 0, value);
  return encodeBatch(item, codec.size);
}

/** Undefined when the payload does not verify or does not hold exactly one item. */
export function decodeControl<Name extends keyof ControlValues>(
  name: Name,
  payload: Uint8Array,
): ControlValues[Name] | undefined {
  const codec = CODECS[name];
  const items = batchItems(payload, codec.size);
  return items?.count === 1 ? codec.read(viewOf(payload), items.offset) : undefined;
}
