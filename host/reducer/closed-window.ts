/** A window that every worker has closed. */
export interface ClosedWindow {
  window: number;
  windowNs: number;
  incarnation: bigint;
  /** One WindowOutput of each worker (schemas/records.fbs). */
  outputs: readonly Uint8Array[];
}
