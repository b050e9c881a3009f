// Payloads as typed items.
import { strict as assert } from 'node:assert';
import type { Payload } from '../../wire/channel-sender.ts';
import * as layout from '../../wire/gen/wire-layout.ts';
import { FrameKind } from '../../wire/gen/wire-layout.ts';
import { batchItems } from '../../wire/struct-batch.ts';

/** Calls `use` for every struct of a batch, in order. Throws AssertionError when the payload is no batch. */
export function eachItem<T>(
  payload: Uint8Array,
  size: number,
  read: (view: DataView, offset: number) => T,
  use: (item: T) => void,
): void {
  const items = batchItems(payload, size);
  assert(items !== undefined && items.count > 0);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  for (let index = 0; index < items.count; index++) use(read(view, items.offset + index * size));
}

const READERS = {
  Open: { size: layout.OPEN_SIZE, read: layout.readOpen },
  Baseline: { size: layout.BASELINE_SIZE, read: layout.readBaseline },
  Once: { size: layout.ONCE_SIZE, read: layout.readOnce },
  UpdateNarrow: { size: layout.UPDATE_NARROW_SIZE, read: layout.readUpdateNarrow },
  UpdateWide: { size: layout.UPDATE_WIDE_SIZE, read: layout.readUpdateWide },
  Close: { size: layout.CLOSE_SIZE, read: layout.readClose },
  Settled: { size: layout.SETTLED_SIZE, read: layout.readSettled },
  Fold: { size: layout.FOLD_SIZE, read: layout.readFold },
  Tally: { size: layout.TALLY_SIZE, read: layout.readTally },
  Loss: { size: layout.LOSS_SIZE, read: layout.readLoss },
  WindowEnd: { size: layout.WINDOW_END_SIZE, read: layout.readWindowEnd },
} as const;

/** All items of one kind. */
export function itemsOf<Name extends keyof typeof READERS>(
  payloads: readonly Payload[],
  name: Name,
): ReturnType<(typeof READERS)[Name]['read']>[] {
  const items: ReturnType<(typeof READERS)[Name]['read']>[] = [];
  const { size, read } = READERS[name] as {
    size: number;
    read: (view: DataView, offset: number) => (typeof items)[number];
  };
  for (const { kind, payload } of payloads) {
    if (kind === FrameKind[name]) eachItem(payload, size, read, (item) => items.push(item));
  }
  return items;
}

/** Names of the kinds, in the order of the payloads. */
export function kindsOf(payloads: readonly Payload[]): string[] {
  return payloads.map(({ kind }) => Object.entries(FrameKind).find(([, value]) => value === kind)?.[0] ?? String(kind));
}
