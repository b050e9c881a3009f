// Interned UTF-8 text: equal texts are one text, so comparing handles compares texts. A handle is the address of the block below, in
// slabs of power-of-two blocks with a free list per size. Texts are counted: whoever stores a handle holds one reference.
//
//   block:  refs u32 | hash u32 | bytes u16 | size class u16 | 0 u32 | UTF-8 ...        handle 0 = the empty text

import { ReducerCounter } from '../gen/records';
import { allocate } from './arena';
import { count, set } from './counters';
import { hashBytes } from './hash';
import { OpenTable } from './open-table';

/** Texts at once, and bytes of their blocks. What comes on top is refused. */
export const TEXT_COUNT_MAX: u32 = 1 << 20;
export const TEXT_BYTES_MAX: u32 = 128 << 20;

@unmanaged
class Text {
  /** Next free block while the block is free. */
  refs: u32;
  hash: u32;
  bytes: u16;
  sizeClass: u16;
  pad0: u32;
}

const HEADER_BYTES: u32 = 16;
/** Blocks of 32, 64, 128, 256 and 512 bytes. */
const SMALLEST_SHIFT: u32 = 5;
const SIZE_CLASSES: u32 = 5;
const SLAB_BYTES: u32 = 1 << 14;

let texts: OpenTable = changetype<OpenTable>(0);
let freeHeads: usize = 0;
let countMax: u32 = 0;
let bytesMax: u32 = 0;
let live: u32 = 0;
let slabBytes: u32 = 0;
let refusals: u32 = 0;

export function initTexts(textCountMax: u32, textBytesMax: u32): void {
  texts = OpenTable.create(textCountMax);
  freeHeads = allocate(SIZE_CLASSES * 4);
  countMax = textCountMax;
  bytesMax = textBytesMax;
}

/** How many texts were refused; moves when `internText` returns 0 for a text that is not empty. */
export function textRefusals(): u32 {
  return refusals;
}

export function textAddress(text: u32): usize {
  return <usize>text + HEADER_BYTES;
}

export function textBytes(text: u32): u32 {
  return text === 0 ? 0 : changetype<Text>(text).bytes;
}

/**
 * One reference to the text of valid UTF-8 at `address`, cut to `lengthMax` bytes (at most 496, the largest block) between characters. 0 for
 * the empty text, and for one that is refused because a limit is reached: then `textRefusals` has grown.
 */
export function internText(address: usize, bytes: u32, lengthMax: u32): u32 {
  const length = cutLength(address, bytes, lengthMax);
  if (length === 0) return 0;
  const hash = hashBytes(address, length);
  for (let text = texts.first(hash); text !== 0; text = texts.next()) {
    const found = changetype<Text>(text);
    if (found.bytes === length && memory.compare(textAddress(text), address, length) === 0) {
      found.refs++;
      return text;
    }
  }
  return insertText(address, length, hash);
}

export function retainText(text: u32): u32 {
  if (text !== 0) changetype<Text>(text).refs++;
  return text;
}

export function releaseText(text: u32): void {
  if (text === 0) return;
  const released = changetype<Text>(text);
  if (--released.refs !== 0) return;
  texts.remove(released.hash, text);
  live--;
  set(ReducerCounter.TextsLive, live);
  giveBlock(text, released.sizeClass);
}

/** Order of the bytes, the shorter first when it begins the longer: < 0, 0 or > 0. */
export function compareTexts(left: u32, right: u32): i32 {
  if (left === right) return 0;
  const leftBytes = textBytes(left);
  const rightBytes = textBytes(right);
  const order = memory.compare(textAddress(left), textAddress(right), min(leftBytes, rightBytes));
  return order !== 0 ? order : <i32>leftBytes - <i32>rightBytes;
}

/** Bytes of the valid UTF-8 at `address` that `lengthMax` leaves, cut between characters; counted. */
export function cutLength(address: usize, bytes: u32, lengthMax: u32): u32 {
  if (bytes <= lengthMax) return bytes;
  count(ReducerCounter.TextsCut);
  let length = lengthMax;
  while (length > 0 && (load<u8>(address + length) & 0xc0) === 0x80) length--;
  return length;
}

function insertText(address: usize, length: u32, hash: u32): u32 {
  const sizeClass = sizeClassOf(length + HEADER_BYTES);
  const text = live < countMax ? takeBlock(sizeClass) : 0;
  if (text === 0 || !texts.insert(hash, text)) {
    if (text !== 0) giveBlock(text, sizeClass);
    refusals++;
    count(ReducerCounter.TextsRefused);
    return 0;
  }
  const inserted = changetype<Text>(text);
  inserted.refs = 1;
  inserted.hash = hash;
  inserted.bytes = <u16>length;
  inserted.sizeClass = <u16>sizeClass;
  memory.copy(textAddress(text), address, length);
  live++;
  set(ReducerCounter.TextsLive, live);
  return text;
}

function sizeClassOf(blockBytes: u32): u32 {
  const shift = <u32>(32 - clz(blockBytes - 1));
  return shift <= SMALLEST_SHIFT ? 0 : shift - SMALLEST_SHIFT;
}

function takeBlock(sizeClass: u32): u32 {
  const head = freeHeads + <usize>sizeClass * 4;
  if (load<u32>(head) === 0) addSlab(sizeClass);
  const block = load<u32>(head);
  if (block !== 0) store<u32>(head, changetype<Text>(block).refs);
  return block;
}

function addSlab(sizeClass: u32): void {
  if (slabBytes + SLAB_BYTES > bytesMax) return;
  slabBytes += SLAB_BYTES;
  const slab = <u32>allocate(SLAB_BYTES);
  const blockBytes = (<u32>1) << (sizeClass + SMALLEST_SHIFT);
  for (let at = SLAB_BYTES; at !== 0; at -= blockBytes) {
    giveBlock(slab + at - blockBytes, sizeClass);
  }
}

function giveBlock(block: u32, sizeClass: u32): void {
  const head = freeHeads + <usize>sizeClass * 4;
  changetype<Text>(block).refs = load<u32>(head);
  store<u32>(head, block);
}
