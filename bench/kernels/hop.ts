// Records from this thread to another, by the ring of the mesh and by messages, with at most as many bytes under way as the ring holds.

import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { allocateDoorbells, Doorbells, Sleeper } from '../../host/reducer/doorbell.ts';
import { allocateRing, RingWriter } from '../../host/reducer/mesh-ring.ts';
import { cpuNs } from '../lib/cpu-clock.ts';
import { type HopOrder, type HopReport, READER, RECORD_BYTES, WRITER } from './hop-order.ts';

export { WAYS, type Way } from './hop-order.ts';

export class Hop {
  readonly #ring = allocateRing();
  readonly #bells = allocateDoorbells(2);
  readonly #worker: Worker;
  readonly #writer = new RingWriter(this.#ring);
  readonly #doorbells = new Doorbells(this.#bells);
  #awake = Promise.withResolvers<void>();
  readonly #sleeper = new Sleeper({
    memory: this.#bells,
    worker: WRITER,
    hasNews: () => this.#writer.freeBytes >= this.#wantedBytes,
    wake: () => this.#awake.resolve(),
  });
  #wantedBytes = 0;

  constructor() {
    const workerData = { ring: this.#ring, bells: this.#bells };
    this.#worker = new Worker(join(import.meta.dirname, 'hop-worker.ts'), { workerData });
  }

  /** CPU time of both threads for a record, ns. */
  async run({ way, records, batch }: HopOrder): Promise<number> {
    assert.equal(records % batch, 0);
    const bytes = new Uint8Array(batch * RECORD_BYTES);
    const words = new Uint32Array(bytes.buffer);
    const report = Promise.withResolvers<HopReport>();
    let underWay = 0;
    const listen = (message: HopReport | number) => {
      if (typeof message !== 'number') return report.resolve(message);
      underWay -= message;
      this.#awake.resolve();
    };
    this.#worker.on('message', listen);
    const start = cpuNs();
    this.#worker.postMessage({ way, records, batch } satisfies HopOrder);
    let sum = 0;
    for (let sent = 0; sent < records; sent += batch) {
      for (let at = 0; at < words.length; at += RECORD_BYTES / 4) {
        words[at] = sent + at;
        sum = (sum + words[at]) | 0;
      }
      if (way === 'ring') {
        if (this.#writer.freeBytes < bytes.length) await this.#room(bytes.length);
        this.#writer.write(bytes);
        this.#doorbells.ring(READER);
        continue;
      }
      while (underWay + bytes.length > this.#writer.capacityBytes) await this.#sleep();
      underWay += bytes.length;
      if (way === 'postMessage, copy') this.#worker.postMessage(bytes);
      else {
        const moved = bytes.slice();
        this.#worker.postMessage(moved, [moved.buffer]);
      }
    }
    const answer = await report.promise;
    const ns = cpuNs() - start + answer.cpuNs;
    this.#worker.off('message', listen);
    assert.equal(answer.sum, sum >>> 0, 'the reader read something else');
    return ns / records;
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  async #room(bytes: number): Promise<void> {
    this.#wantedBytes = bytes;
    while (this.#writer.freeBytes < bytes) {
      this.#writer.awaitRoom();
      this.#awake = Promise.withResolvers();
      this.#sleeper.sleep();
      await this.#awake.promise;
    }
  }

  async #sleep(): Promise<void> {
    this.#awake = Promise.withResolvers();
    await this.#awake.promise;
  }
}
