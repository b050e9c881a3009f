import { findSocket, socketAt } from './sockets';

/** The row that counts for the socket; 0, the host's, of one that is not known, or whose end was told. */
export function tallyOwner(cookie: u64): u32 {
  const row = cookie === 0 ? 0 : findSocket(cookie, 0);
  return row !== 0 && socketAt(row).closeWindow === 0 ? row : 0;
}
