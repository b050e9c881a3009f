const kept: usize = memory.data(4, 4);

/** Nobody needs what a look ahead loads. Without a use of its `sum` nobody would need the loads, and the compiler would leave them out. */
export function keepLoads(sum: u32): void {
  store<u32>(kept, sum);
}
