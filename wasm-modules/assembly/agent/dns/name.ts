// Domain names in messages (RFC 1035, sections 3.1 and 4.1.4): labels, each behind its length, or a pointer to labels that stand earlier.
// Whoever sends to port 53 chooses the bytes, so nothing is believed: a pointer leads backwards only, past everything that was followed
// before, so that following ends; a name has 255 bytes at most.
import { allocate } from '../../lib/arena';

/** As in the message, with the lengths of its labels. */
const NAME_BYTES_MAX: u32 = 255;
/** Every byte of it as `\ddd`. */
export const NAME_TEXT_BYTES_MAX: u32 = 4 * NAME_BYTES_MAX;

const DOT: u8 = 0x2e;
const BACKSLASH: u8 = 0x5c;
const ZERO: u32 = 0x30;

/** The text of the name that was read last. */
export let nameText: usize = 0;
export let nameTextBytes: u32 = 0;

export function initNames(): void {
  nameText = allocate(NAME_TEXT_BYTES_MAX);
}

/**
 * Reads the name at `at` and makes its text: lower case, because names are equal in any (RFC 4343), without the last dot, what is not
 * printable as `\ddd` (RFC 1035, section 5.1), the root as a dot. Returns where the message goes on, or 0 when this is no name.
 * `message` has `bytes` bytes.
 */
export function readName(message: usize, bytes: u32, at: u32): u32 {
  let next: u32 = 0;
  let lowest = at;
  let nameBytes: u32 = 1;
  nameTextBytes = 0;
  while (at < bytes) {
    const length: u32 = load<u8>(message + at);
    if (length === 0) {
      if (nameTextBytes === 0) append(DOT);
      return next === 0 ? at + 1 : next;
    }
    if (length >= 0xc0) {
      if (at + 2 > bytes) return 0;
      const target = ((length & 0x3f) << 8) | <u32>load<u8>(message + at + 1);
      if (next === 0) next = at + 2;
      if (target >= lowest) return 0;
      lowest = target;
      at = target;
      continue;
    }
    nameBytes += length + 1;
    if (length > 63 || at + 1 + length > bytes || nameBytes > NAME_BYTES_MAX) return 0;
    if (nameTextBytes !== 0) append(DOT);
    for (let index: u32 = 1; index <= length; index++) appendByte(load<u8>(message + at + index));
    at += 1 + length;
  }
  return 0;
}

function append(byte: u8): void {
  store<u8>(nameText + nameTextBytes++, byte);
}

function appendByte(byte: u8): void {
  if (byte >= 0x41 && byte <= 0x5a) {
    append(byte + 0x20);
  } else if (byte === DOT || byte === BACKSLASH) {
    append(BACKSLASH);
    append(byte);
  } else if (byte > 0x20 && byte < 0x7f) {
    append(byte);
  } else {
    append(BACKSLASH);
    append(<u8>(ZERO + <u32>byte / 100));
    append(<u8>(ZERO + ((<u32>byte / 10) % 10)));
    append(<u8>(ZERO + (<u32>byte % 10)));
  }
}
