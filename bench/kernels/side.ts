/** One way to do the operations of a kernel on a table of some size. */
export interface Side {
  name: string;
  /** Does the operations `from` to `from + count - 1`, which follow those of the last call. Returns a checksum of what was found, the same for every side. */
  run(from: number, count: number): number;
  /** Of what the operations left behind, where `run` finds nothing. */
  checksum?(): number;
}

/** 32-bit finalizer of MurmurHash3, as in assembly/index.ts. */
export function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export const TEXT_BYTES = 32;
/** Where four bytes of a text lie that go into the checksum. */
export const CHECKED_BYTE = 16;

/** Texts of names as they come from the wire, 32 bytes each, one after another. */
export function makeTexts(size: number): Buffer {
  const texts = Buffer.alloc(size * TEXT_BYTES);
  for (let index = 0; index < size; index++) {
    const text = `service-${mix(index).toString(16).padStart(8, '0')}${String(index).padStart(8, '0')}/primary`;
    texts.write(text, index * TEXT_BYTES, 'latin1');
  }
  return texts;
}

/** As assembly/index.ts has them. */
export const SAMPLE_US_MASK = (1 << 20) - 1;
