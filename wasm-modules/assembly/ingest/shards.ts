// Which worker matches a shard. 256 shards for ever; how they are spread over workers is this file alone.

let workers: u32 = 1;

export function initShards(workerCount: u32): void {
  workers = workerCount;
}

export function workerOfShard(shard: u32): u32 {
  return shard % workers;
}

export function workerCount(): u32 {
  return workers;
}
