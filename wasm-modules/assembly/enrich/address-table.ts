// Names an end that no agent looks at: the host that announced the address, else a private or public address. Addresses are the 16
// bytes of RFC 4291 as two loads of 8 (IPv4 as ::ffff:a.b.c.d); a space is the hash of its name. A binding counts from the moment it
// is learned, so it names the flows of the window in which it is learned; one that ends still names that window.

/** The node of an address; borrowed (enrich/labels.ts). */
export function nodeOfAddress(addressHi: u64, addressLo: u64, space: u64): u32 {
  return unreachable();
}

/** `host` announced the address. Repeats change nothing. An address that several hosts claim names none of them. */
export function bindHostAddress(addressHi: u64, addressLo: u64, space: u64, host: u32): void {
  unreachable();
}

/** The claim of `host` ends with this window. */
export function unbindHostAddress(addressHi: u64, addressLo: u64, space: u64, host: u32): void {
  unreachable();
}
