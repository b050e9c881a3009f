// The head of a message and its question (RFC 1035, section 4.1). Only ordinary queries with one question and their answers are told of;
// what is no message at all and what is another kind of message differ in name only, both are passed over.
import { initNames, readName } from './name';

const HEADER_BYTES: u32 = 12;
const ANSWER_FLAG: u32 = 0x8000;
const OPCODE_MASK: u32 = 0x7800;
const TRUNCATED_FLAG: u32 = 0x0200;
const RESPONSE_CODE_MASK: u32 = 0x000f;

/** Of the message that was read last; its question's name is `nameText` of name.ts. */
export let id: u16 = 0;
export let isAnswer: bool = false;
export let isTruncated: bool = false;
export let responseCode: u8 = 0;
export let recordType: u16 = 0;
/** Its answers, and where the first one is. */
export let answerCount: u32 = 0;
export let answersAt: u32 = 0;

export function initMessages(): void {
  initNames();
}

/** Returns false for what is not a query or an answer with one question. `bytes` may be less than the message had. */
export function readMessage(message: usize, bytes: u32): bool {
  if (bytes < HEADER_BYTES) return false;
  const flags = loadBigEndian(message + 2);
  if ((flags & OPCODE_MASK) !== 0 || loadBigEndian(message + 4) !== 1) return false;
  const next = readName(message, bytes, HEADER_BYTES);
  if (next === 0 || next + 4 > bytes) return false;
  id = <u16>loadBigEndian(message);
  isAnswer = (flags & ANSWER_FLAG) !== 0;
  isTruncated = (flags & TRUNCATED_FLAG) !== 0;
  responseCode = <u8>(flags & RESPONSE_CODE_MASK);
  recordType = <u16>loadBigEndian(message + next);
  answerCount = loadBigEndian(message + 6);
  answersAt = next + 4;
  return true;
}

export function loadBigEndian(address: usize): u32 {
  return <u32>bswap<u16>(load<u16>(address));
}
