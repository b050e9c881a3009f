// Entry of the test build: reads single DNS messages.
import { initMessages, readMessage } from '../agent/dns/message';
import { nameText, nameTextBytes } from '../agent/dns/name';
import { allocate } from '../lib/arena';

const ROOM_BYTES: usize = 8192;
let room: usize = 0;

export { id, isAnswer, isTruncated, recordType, responseCode } from '../agent/dns/message';

export function init(): usize {
  initMessages();
  room = allocate(ROOM_BYTES);
  return room;
}

export function read(bytes: u32): bool {
  return readMessage(room, bytes);
}

export function textAddress(): usize {
  return nameText;
}

export function textBytes(): u32 {
  return nameTextBytes;
}
