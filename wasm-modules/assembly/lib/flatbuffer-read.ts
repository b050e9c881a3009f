// Reads tables that flatbuffer-verify.ts has accepted: addresses in, addresses out, no checks.

/** Address of a field of the table at `table`; 0 when it is absent. */
export function fieldOf(table: usize, slot: usize): usize {
  const vtable = table - <usize>load<i32>(table);
  if (slot >= <usize>load<u16>(vtable)) return 0;
  const offset = <usize>load<u16>(vtable + slot);
  return offset === 0 ? 0 : table + offset;
}

/** Address that the offset at `address` leads to. */
export function follow(address: usize): usize {
  return address + <usize>load<u32>(address);
}

/** Address of the first item of a vector field, or of the first byte of a string field; 0 when it is absent. */
export function itemsOf(table: usize, slot: usize): usize {
  const field = fieldOf(table, slot);
  return field === 0 ? 0 : follow(field) + 4;
}

/** Number of items of a vector, or of bytes of a string, by the address of the first; 0 for an absent one. */
export function countOf(items: usize): u32 {
  return items === 0 ? 0 : load<u32>(items - 4);
}
