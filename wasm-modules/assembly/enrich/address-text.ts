// Addresses as text and by class. An address is the 16 bytes of RFC 4291 as two little-endian loads of 8, so byte i of a half is
// (half >> 8 * i) & 255; IPv4 comes as ::ffff:a.b.c.d.
//
// Text: dotted for IPv4; RFC 5952 for IPv6, always in hexadecimal groups: lower case, no leading zeros, the first longest run of two
// or more zero groups as "::".

/** Longest text: eight groups of four digits. */
export const ADDRESS_TEXT_BYTES_MAX: u32 = 39;

/** Bytes 8 to 11 of a v4-mapped address, as loaded. */
const MAPPED_PREFIX: u32 = 0xffff0000;

export namespace AddressClass {
  /** 0.0.0.0 and ::, which name nobody. */
  export const Unspecified: u32 = 0;
  /** RFC 1918, 4193, 6598, loopback (RFC 1122, 4291) and link-local (RFC 3927, 4291). */
  export const Private: u32 = 1;
  export const Public: u32 = 2;
}

function isMapped(hi: u64, lo: u64): bool {
  return hi === 0 && <u32>lo === MAPPED_PREFIX;
}

export function classifyAddress(hi: u64, lo: u64): u32 {
  return isMapped(hi, lo) ? classifyV4(bswap<u32>(<u32>(lo >> 32))) : classifyV6(bswap<u64>(hi), bswap<u64>(lo));
}

function classifyV4(address: u32): u32 {
  if (address === 0) return AddressClass.Unspecified;
  const isPrivate =
    address >>> 24 === 10 || // RFC 1918
    address >>> 20 === 0xac1 ||
    address >>> 16 === 0xc0a8 ||
    address >>> 22 === 0x191 || // RFC 6598, 100.64.0.0/10
    address >>> 24 === 127 ||
    address >>> 16 === 0xa9fe;
  return isPrivate ? AddressClass.Private : AddressClass.Public;
}

function classifyV6(hi: u64, lo: u64): u32 {
  if (hi === 0 && lo <= 1) return lo === 0 ? AddressClass.Unspecified : AddressClass.Private;
  const isPrivate = hi >>> 57 === 0x7e || hi >>> 54 === 0x3fa; // fc00::/7, fe80::/10
  return isPrivate ? AddressClass.Private : AddressClass.Public;
}

/** Writes at most ADDRESS_TEXT_BYTES_MAX bytes at `to`; returns how many. */
export function formatAddressInto(hi: u64, lo: u64, to: usize): u32 {
  return <u32>(isMapped(hi, lo) ? formatV4(<u32>(lo >> 32), to) : formatV6(hi, lo, to)) - <u32>to;
}

function formatV4(address: u32, to: usize): usize {
  let at = to;
  for (let index: u32 = 0; index < 4; index++) {
    if (index !== 0) store<u8>(at++, 0x2e);
    at = formatByte((address >> (index * 8)) & 255, at);
  }
  return at;
}

function formatByte(value: u32, to: usize): usize {
  let at = to;
  if (value >= 100) store<u8>(at++, 0x30 + value / 100);
  if (value >= 10) store<u8>(at++, 0x30 + ((value / 10) % 10));
  store<u8>(at++, 0x30 + (value % 10));
  return at;
}

function formatV6(hi: u64, lo: u64, to: usize): usize {
  const run = longestZeroRun(hi, lo);
  const runStart = run >>> 8;
  const runEnd = runStart + (run & 255);
  let at = to;
  for (let index: u32 = 0; index < 8; index++) {
    if (index === runStart && runEnd > runStart) {
      store<u16>(at, 0x3a3a);
      at += 2;
      index = runEnd - 1;
      continue;
    }
    if (index !== 0 && index !== runEnd) store<u8>(at++, 0x3a);
    at = formatGroup(groupAt(hi, lo, index), at);
  }
  return at;
}

/** Group `index` of 8 in host order. */
function groupAt(hi: u64, lo: u64, index: u32): u32 {
  const half = index < 4 ? hi : lo;
  return bswap<u16>(<u16>(half >> ((index & 3) * 16)));
}

/** First longest run of at least two zero groups, as start << 8 | length; 0 when there is none. */
function longestZeroRun(hi: u64, lo: u64): u32 {
  let bestStart: u32 = 0;
  let bestLength: u32 = 1;
  let length: u32 = 0;
  for (let index: u32 = 0; index < 8; index++) {
    length = groupAt(hi, lo, index) === 0 ? length + 1 : 0;
    if (length > bestLength) {
      bestLength = length;
      bestStart = index + 1 - length;
    }
  }
  return bestLength < 2 ? 0 : (bestStart << 8) | bestLength;
}

function formatGroup(group: u32, to: usize): usize {
  let at = to;
  let shift: i32 = group === 0 ? 0 : (31 - clz(group)) & ~3;
  for (; shift >= 0; shift -= 4) {
    const digit = (group >> shift) & 15;
    store<u8>(at++, digit < 10 ? 0x30 + digit : 0x57 + digit);
  }
  return at;
}
