// What an agent left out: a Loss frame tells the total of each kind, and names of kinds are in schemas/wire.fbs.
import { LOSS_SIZE, LossKind, readLoss, writeLoss } from './gen/wire-layout.ts';
import { batchItems, encodeBatch } from './struct-batch.ts';

export type LossName = Exclude<keyof typeof LossKind, 'None' | 'End'>;
export type Losses = Partial<Record<LossName, number>>;

export const LOSS_NAMES = (Object.keys(LossKind) as (keyof typeof LossKind)[]).filter(
  (name): name is LossName => name !== 'None' && name !== 'End',
);

export function encodeLosses(losses: Losses): Uint8Array<ArrayBuffer> {
  const told = LOSS_NAMES.filter((name) => losses[name] !== undefined);
  const items = new Uint8Array(told.length * LOSS_SIZE);
  const view = new DataView(items.buffer);
  told.forEach((name, index) => {
    writeLoss(view, index * LOSS_SIZE, { kind: LossKind[name], count: BigInt(losses[name] ?? 0) });
  });
  return encodeBatch(items, LOSS_SIZE);
}

/** From an untrusted sender: undefined when it is no such frame. Kinds of later versions are passed over. */
export function decodeLosses(payload: Uint8Array): Losses | undefined {
  const items = batchItems(payload, LOSS_SIZE);
  if (items === undefined) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const losses: Losses = {};
  for (let index = 0; index < items.count; index++) {
    const { kind, count } = readLoss(view, items.offset + index * LOSS_SIZE);
    const name = LOSS_NAMES.find((each) => LossKind[each] === kind);
    if (name !== undefined) losses[name] = Number(count);
  }
  return losses;
}
