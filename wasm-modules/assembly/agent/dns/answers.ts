// The addresses that an answer gives the name that was asked for (RFC 1035, section 4.1.3): those of the name itself, or of where its aliases
// (CNAME) lead. Records of other names say nothing of it, wherever they come from, and are passed over.
import { allocate } from '../../lib/arena';
import { nameAddress } from './addresses';
import { answerCount, answersAt, loadBigEndian } from './message';
import { NAME_TEXT_BYTES_MAX, nameText, nameTextBytes, readName } from './name';

const TYPE_A: u32 = 1;
const TYPE_CNAME: u32 = 5;
const TYPE_AAAA: u32 = 28;
const CLASS_IN: u32 = 1;
/** Type, class, TTL and length of the data. */
const RECORD_BYTES: u32 = 10;
/** Records of an answer that are looked at, and aliases that are followed. */
const RECORD_COUNT_MAX: u32 = 128;
const ALIAS_COUNT_MAX: u32 = 8;
/** ::ffff:0:0/96, the lower half as a little-endian load, without the address. */
const V4_MAPPED_LO: u64 = 0x0000_0000_ffff_0000;

/** The name whose records are looked for. */
let sought: usize = 0;
let soughtBytes: u32 = 0;

// The record that was read last.
let recordType: u32 = 0;
let recordTtl: u32 = 0;
let dataAt: u32 = 0;
let dataBytes: u32 = 0;
/** Its class is IN, and its owner the name that is looked for. */
let isSought: bool = false;

export function initAnswers(): void {
  sought = allocate(NAME_TEXT_BYTES_MAX);
}

/** Names the addresses in the answer that was read last (message.ts) with `label`; `bytes` may be less than the message had. */
export function nameAnswers(message: usize, bytes: u32, label: u32, timeNs: u64): void {
  seekName();
  let ttl = u32.MAX_VALUE;
  for (let aliases: u32 = 0; aliases <= ALIAS_COUNT_MAX; aliases++) {
    const alias = findAlias(message, bytes);
    if (alias === 0) {
      nameRecords(message, bytes, label, ttl, timeNs);
      return;
    }
    ttl = min(ttl, recordTtl);
    if (readName(message, bytes, alias) === 0) return;
    seekName();
  }
}

/** The name that was read last is looked for. */
function seekName(): void {
  memory.copy(sought, nameText, nameTextBytes);
  soughtBytes = nameTextBytes;
}

/** Where the name stands that the sought one is an alias of; 0 = it is none. */
function findAlias(message: usize, bytes: u32): u32 {
  let at = answersAt;
  for (let index: u32 = 0; index < min(answerCount, RECORD_COUNT_MAX); index++) {
    at = readRecord(message, bytes, at);
    if (at === 0) return 0;
    if (isSought && recordType === TYPE_CNAME) return dataAt;
  }
  return 0;
}

function nameRecords(message: usize, bytes: u32, label: u32, ttl: u32, timeNs: u64): void {
  let at = answersAt;
  for (let index: u32 = 0; index < min(answerCount, RECORD_COUNT_MAX); index++) {
    at = readRecord(message, bytes, at);
    if (at === 0) return;
    if (!isSought) continue;
    const data = message + dataAt;
    if (recordType === TYPE_A && dataBytes === 4) {
      nameAddress(0, V4_MAPPED_LO | ((<u64>load<u32>(data)) << 32), label, min(ttl, recordTtl), timeNs);
    } else if (recordType === TYPE_AAAA && dataBytes === 16) {
      nameAddress(load<u64>(data), load<u64>(data, 8), label, min(ttl, recordTtl), timeNs);
    }
  }
}

/** Reads the record at `at`; returns where the next one is, or 0 when this is no whole record. */
function readRecord(message: usize, bytes: u32, at: u32): u32 {
  const head = readName(message, bytes, at);
  if (head === 0 || head + RECORD_BYTES > bytes) return 0;
  recordType = loadBigEndian(message + head);
  recordTtl = bswap<u32>(load<u32>(message + head, 4));
  // RFC 2181, section 8.
  if (<i32>recordTtl < 0) recordTtl = 0;
  dataBytes = loadBigEndian(message + head + 8);
  dataAt = head + RECORD_BYTES;
  if (dataAt + dataBytes > bytes) return 0;
  isSought =
    loadBigEndian(message + head + 2) === CLASS_IN &&
    nameTextBytes === soughtBytes &&
    memory.compare(nameText, sought, soughtBytes) === 0;
  return dataAt + dataBytes;
}
