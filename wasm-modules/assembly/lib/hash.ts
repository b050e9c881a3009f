// Two families of hashes. Seeded ones place keys in tables: agents choose the keys, so the seed is the reducer's secret, and nothing
// that leaves a table may depend on it. Fixed ones name things alike on every worker and in every run: shards, address spaces.
// Both are SipHash-1-3 (Aumasson and Bernstein, 2012) over 8-byte words, little-endian.

const FIXED_LOW: u64 = 0x7472_6962_7574_6172;
const FIXED_HIGH: u64 = 0x7921_0001_0003_0001;

let seedLow: u64 = 0;
let seedHigh: u64 = 0;

export function seedHashes(low: u64, high: u64): void {
  seedLow = low;
  seedHigh = high;
}

/** For the tables of this instance. */
export function hashPair(a: u64, b: u64): u32 {
  const hash = hashWords(seedLow, seedHigh, a, b);
  return <u32>(hash ^ (hash >> 32));
}

/** Alike everywhere. */
export function stableHashPair(a: u64, b: u64): u64 {
  return hashWords(FIXED_LOW, FIXED_HIGH, a, b);
}

/** Of the bytes of a text, for the tables of this instance. */
export function hashBytes(address: usize, bytes: u32): u32 {
  const hash = foldBytes(seedLow, seedHigh, address, bytes);
  return <u32>(hash ^ (hash >> 32));
}

/** Of the bytes of a text, alike everywhere. */
export function stableHashBytes(address: usize, bytes: u32): u64 {
  return foldBytes(FIXED_LOW, FIXED_HIGH, address, bytes);
}

function foldBytes(k0: u64, k1: u64, address: usize, bytes: u32): u64 {
  let hash: u64 = bytes;
  let at = address;
  let left = bytes;
  for (; left >= 8; left -= 8, at += 8) hash = hashWords(k0, k1, hash, load<u64>(at));
  let tail: u64 = 0;
  for (let index: u32 = 0; index < left; index++) tail |= (<u64>load<u8>(at + index)) << (index * 8);
  return hashWords(k0, k1, hash, tail);
}

function hashWords(k0: u64, k1: u64, a: u64, b: u64): u64 {
  let v0 = k0 ^ 0x736f_6d65_7073_6575;
  let v1 = k1 ^ 0x646f_7261_6e64_6f6d;
  let v2 = k0 ^ 0x6c79_6765_6e65_7261;
  let v3 = k1 ^ 0x7465_6462_7974_6573;
  for (let word: u32 = 0; word < 3; word++) {
    const m: u64 = word === 0 ? a : word === 1 ? b : (<u64>16) << 56;
    v3 ^= m;
    v0 += v1;
    v2 += v3;
    v1 = rotl(v1, 13) ^ v0;
    v3 = rotl(v3, 16) ^ v2;
    v0 = rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = rotl(v1, 17) ^ v2;
    v3 = rotl(v3, 21) ^ v0;
    v2 = rotl(v2, 32);
    v0 ^= m;
  }
  v2 ^= 0xff;
  for (let round: u32 = 0; round < 3; round++) {
    v0 += v1;
    v2 += v3;
    v1 = rotl(v1, 13) ^ v0;
    v3 = rotl(v3, 16) ^ v2;
    v0 = rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = rotl(v1, 17) ^ v2;
    v3 = rotl(v3, 21) ^ v0;
    v2 = rotl(v2, 32);
  }
  return v0 ^ v1 ^ v2 ^ v3;
}
