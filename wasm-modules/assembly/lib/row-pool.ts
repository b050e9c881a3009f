// Rows of one size by dense handle, in pages that are allocated as they are needed, so that a row stays where it is and an unused
// limit costs nothing. Handle 0 is no row. A freed row is given out again, newest first; its bytes stay as they were, only the first
// four hold the free list meanwhile.
import { allocate, allocateInPage } from './arena';

const PAGE_ROWS_SHIFT: u32 = 9;
const PAGE_ROWS: u32 = 1 << PAGE_ROWS_SHIFT;

/** The row of a handle of another worker, as `reach`. `pools`: pointers to pools by worker, each made for the first handle of its worker. */
export function reachOfWorker(pools: usize, worker: u32, rowBytes: usize, countMax: u32, handle: u32): usize {
  const slot = pools + <usize>worker * sizeof<usize>();
  if (load<usize>(slot) === 0) store<usize>(slot, changetype<usize>(RowPool.create(rowBytes, countMax)));
  return changetype<RowPool>(load<usize>(slot)).reach(handle);
}

@unmanaged
export class RowPool {
  private pages: usize;
  private rowBytes: usize;
  private countMax: u32;
  /** Handles below this one were given out at least once. */
  private fresh: u32;
  private freeHead: u32;
  private liveCount: u32;

  /** `rowBytes`: a multiple of 8. `countMax`: rows at once. */
  static create(rowBytes: usize, countMax: u32): RowPool {
    const pool = changetype<RowPool>(allocate(offsetof<RowPool>()));
    pool.begin(rowBytes, countMax);
    return pool;
  }

  /** As `create`, for a pool in static memory: where it lies is a constant of the code then. */
  begin(rowBytes: usize, countMax: u32): void {
    this.pages = allocate(((<usize>countMax >>> PAGE_ROWS_SHIFT) + 1) * sizeof<usize>());
    this.rowBytes = rowBytes;
    this.countMax = countMax;
    this.fresh = 1;
    this.freeHead = 0;
    this.liveCount = 0;
  }

  get live(): u32 {
    return this.liveCount;
  }

  /** One above the greatest handle ever given out. */
  get end(): u32 {
    return this.fresh;
  }

  isFull(): bool {
    return this.liveCount >= this.countMax;
  }

  at(handle: u32): usize {
    return load<usize>(this.pageSlot(handle)) + <usize>(handle & (PAGE_ROWS - 1)) * this.rowBytes;
  }

  /** `at` of a pool whose rows are T: their size is a constant of the code. */
  row<T>(handle: u32): T {
    return changetype<T>(load<usize>(this.pageSlot(handle)) + <usize>(handle & (PAGE_ROWS - 1)) * offsetof<T>());
  }

  /** The row of a handle that another worker gives out; 0 when it is beyond the limit. Not for pools that `take`. */
  reach(handle: u32): usize {
    if (handle > this.countMax) return 0;
    this.ensurePage(handle);
    return this.at(handle);
  }

  /** A row with the bytes of whoever had it before, or zeros; 0 when the pool is full. */
  take(): u32 {
    if (this.isFull()) return 0;
    this.liveCount++;
    const freed = this.freeHead;
    if (freed !== 0) {
      this.freeHead = load<u32>(this.at(freed));
      return freed;
    }
    const handle = this.fresh++;
    this.ensurePage(handle);
    return handle;
  }

  give(handle: u32): void {
    store<u32>(this.at(handle), this.freeHead);
    this.freeHead = handle;
    this.liveCount--;
  }

  private pageSlot(handle: u32): usize {
    return this.pages + <usize>(handle >>> PAGE_ROWS_SHIFT) * sizeof<usize>();
  }

  private ensurePage(handle: u32): void {
    const slot = this.pageSlot(handle);
    if (load<usize>(slot) === 0) store<usize>(slot, allocateInPage(<usize>PAGE_ROWS * this.rowBytes));
  }
}
