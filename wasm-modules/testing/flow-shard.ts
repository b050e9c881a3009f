// The shard and the pair of a flow as both ends compute them, from the definition of SipHash-1-3 (Aumasson and Bernstein, 2012).
const MASK = 2n ** 64n - 1n;
const KEY = [0x7472_6962_7574_6172n, 0x7921_0001_0003_0001n] as const;

const rotate = (value: bigint, bits: bigint): bigint => ((value << bits) | (value >> (64n - bits))) & MASK;

/** Of two words of 64 bits, under the fixed key. */
function sipHash13(first: bigint, second: bigint): bigint {
  let v0 = KEY[0] ^ 0x736f_6d65_7073_6575n;
  let v1 = KEY[1] ^ 0x646f_7261_6e64_6f6dn;
  let v2 = KEY[0] ^ 0x6c79_6765_6e65_7261n;
  let v3 = KEY[1] ^ 0x7465_6462_7974_6573n;
  const round = (): void => {
    v0 = (v0 + v1) & MASK;
    v1 = rotate(v1, 13n) ^ v0;
    v0 = rotate(v0, 32n);
    v2 = (v2 + v3) & MASK;
    v3 = rotate(v3, 16n) ^ v2;
    v0 = (v0 + v3) & MASK;
    v3 = rotate(v3, 21n) ^ v0;
    v2 = (v2 + v1) & MASK;
    v1 = rotate(v1, 17n) ^ v2;
    v2 = rotate(v2, 32n);
  };
  for (const word of [first, second, 16n << 56n]) {
    v3 ^= word;
    round();
    v0 ^= word;
  }
  v2 ^= 0xffn;
  for (let count = 0; count < 3; count++) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

export const shardOfJoinKey = (joinKey: bigint): number => Number(sipHash13(joinKey, 0n) & 0xffn);

/** Of 16 bytes each; still without address space. */
export function pairOf(client: Uint8Array, server: Uint8Array, serverPort: number, protocol = 6): bigint {
  const ends = sipHash13(hashAddress(client), hashAddress(server));
  return sipHash13(ends, BigInt((serverPort << 8) | protocol)) | 1n;
}

function hashAddress(address: Uint8Array): bigint {
  const view = new DataView(address.buffer, address.byteOffset);
  return sipHash13(view.getBigUint64(0, true), view.getBigUint64(8, true));
}
