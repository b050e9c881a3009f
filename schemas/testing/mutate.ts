import type { Random } from './random.ts';

/** Values at which arithmetic on offsets, lengths and counts goes wrong first. */
const EDGES = [
  ...[0, 1, 2, 3, 4, 5, 6, 8, 0x7f, 0xff, 0x7fff, 0x8000, 0xffff],
  ...[0x7fff_ffff, 0x8000_0000, 0xffff_fff8, 0xffff_fffe, 0xffff_ffff],
  // Counts whose product with 4, 8, 24 and 80 bytes is a small number in 32 bits.
  ...[0x4000_0001, 0x2000_0001, 0x0aaa_aaab, 0x0333_3334],
];

/** A copy of `message` with some bytes, words or pieces changed, or cut short. */
export function mutate(message: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  let mutant = message.slice();
  const changes = random.pick([1, 1, 1, 2, 3, 8]);
  for (let change = 0; change < changes && mutant.length >= 4; change++) mutant = change1(mutant, random);
  return mutant;
}

function change1(mutant: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> {
  const view = new DataView(mutant.buffer);
  const at = random.below(mutant.length);
  const word = Math.min(at & ~3, mutant.length - 4);
  const half = Math.min(at & ~1, mutant.length - 2);
  switch (random.below(8)) {
    case 0:
      mutant[at] ^= 1 << random.below(8);
      return mutant;
    case 1:
      mutant[at] = random.below(256);
      return mutant;
    case 2:
      view.setUint16(half, random.pick(EDGES), true);
      return mutant;
    case 3:
      view.setUint32(word, random.pick(EDGES), true);
      return mutant;
    case 4:
      view.setUint32(word, view.getUint32(word, true) + random.below(33) - 16, true);
      return mutant;
    case 5:
      view.setUint32(word, random.below(mutant.length + 8), true);
      return mutant;
    case 6:
      mutant.copyWithin(random.below(mutant.length), at, at + random.below(32));
      return mutant;
    default:
      return mutant.slice(0, random.below(mutant.length + 1));
  }
}
