// The listening sockets of a host: a Listener frame tells all of them, and replaces the one before. Names of fields are in schemas/wire.fbs.
import { LISTENER_SIZE, type Listener, readListener, writeListener } from './gen/wire-layout.ts';
import { batchItems, encodeBatch } from './struct-batch.ts';

/** In one frame. Of more, the ones with the greatest ports are left out: services have low ones. */
export const LISTENER_COUNT_MAX = 1_024;

/** In the order of port, address and namespace; at most LISTENER_COUNT_MAX of them. */
export function encodeListeners(listeners: readonly Listener[]): Uint8Array<ArrayBuffer> {
  const told = [...listeners].sort(byPort).slice(0, LISTENER_COUNT_MAX);
  const items = new Uint8Array(told.length * LISTENER_SIZE);
  const view = new DataView(items.buffer);
  for (const [index, listener] of told.entries()) writeListener(view, index * LISTENER_SIZE, listener);
  return encodeBatch(items, LISTENER_SIZE);
}

/** From an untrusted sender: undefined when it is no such frame. */
export function decodeListeners(payload: Uint8Array): Listener[] | undefined {
  const items = batchItems(payload, LISTENER_SIZE);
  if (items === undefined || items.count > LISTENER_COUNT_MAX) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return Array.from({ length: items.count }, (_, index) => readListener(view, items.offset + index * LISTENER_SIZE));
}

function byPort(a: Listener, b: Listener): number {
  return a.port - b.port || Buffer.compare(a.address, b.address) || a.netns - b.netns;
}
