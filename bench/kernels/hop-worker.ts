// The reading side of a hop: takes records from the ring or from messages, sums their first words, and says what it cost this thread.

import { strict as assert } from 'node:assert';
import { parentPort, workerData } from 'node:worker_threads';
import { Doorbells, Sleeper } from '../../host/reducer/doorbell.ts';
import { RingReader } from '../../host/reducer/mesh-ring.ts';
import { cpuNs } from '../lib/cpu-clock.ts';
import { type HopOrder, type HopReport, READER, RECORD_BYTES, WRITER } from './hop-order.ts';

const { ring, bells } = workerData as { ring: SharedArrayBuffer; bells: SharedArrayBuffer };
assert(parentPort !== null);
const port = parentPort;
const reader = new RingReader(ring);
const doorbells = new Doorbells(bells);
const sleeper = new Sleeper({ memory: bells, worker: READER, hasNews: () => reader.availableBytes > 0, wake: drain });
let target = new Uint8Array(0);
let left = 0;
let sum = 0;
let start = 0;

port.on('message', (order: HopOrder | Uint8Array) => {
  if (order instanceof Uint8Array) return receive(order);
  target = new Uint8Array(order.batch * RECORD_BYTES);
  left = order.records;
  sum = 0;
  start = cpuNs();
  if (order.way === 'ring') drain();
});

function drain(): void {
  if (left === 0) return;
  while (reader.availableBytes >= target.length) {
    reader.copyInto(target);
    if (reader.advance(target.length)) doorbells.ring(WRITER);
    if (take(target)) return;
  }
  sleeper.sleep();
}

function receive(batch: Uint8Array): void {
  const isLast = take(batch);
  // The writer counts what is under way.
  if (!isLast) port.postMessage(batch.length);
}

/** True at the last one. */
function take(batch: Uint8Array): boolean {
  const words = new Uint32Array(batch.buffer, batch.byteOffset, batch.length / 4);
  for (let at = 0; at < words.length; at += RECORD_BYTES / 4) sum = (sum + words[at]) | 0;
  left -= batch.length / RECORD_BYTES;
  if (left > 0) return false;
  const report: HopReport = { sum: sum >>> 0, cpuNs: cpuNs() - start };
  port.postMessage(report);
  return true;
}
