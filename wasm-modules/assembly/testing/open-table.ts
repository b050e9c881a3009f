// Entry of the test build: one table, as the tests ask for it.
import { arenaBytes } from '../lib/arena';
import { OpenTable } from '../lib/open-table';

let table: OpenTable = changetype<OpenTable>(0);

export { arenaBytes };

export function create(countMax: u32): void {
  table = OpenTable.create(countMax);
}

export function insert(tag: u32, row: u32): bool {
  return table.insert(tag, row);
}

export function remove(tag: u32, row: u32): void {
  table.remove(tag, row);
}

export function first(tag: u32): u32 {
  return table.first(tag);
}

export function next(): u32 {
  return table.next();
}

export function size(): u32 {
  return table.size;
}

export function movedRows(): u64 {
  return table.movedRows;
}
