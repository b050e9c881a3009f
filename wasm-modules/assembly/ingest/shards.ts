// Which worker matches a shard. 256 shards for ever; how they are spread over workers is this file alone.

let workers: u32 = 1;
let ownWorker: u32 = 0;

export function initShards(worker: u32, workerCount: u32): void {
  ownWorker = worker;
  workers = workerCount;
}

export function isOwnWorker(worker: u32): bool {
  return worker === ownWorker;
}

export function workerOfShard(shard: u32): u32 {
  return shard % workers;
}

export function workerCount(): u32 {
  return workers;
}
