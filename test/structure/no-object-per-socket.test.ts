// The state of sockets and flows lies in WebAssembly. Were there one object, map entry or closure for each in TypeScript, the JavaScript heap
// would grow by tens of bytes for each of the sockets here; it grows by less than BYTES_PER_SOCKET_MAX. Linear memory is not part of that heap.
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { HeapReading } from './heap-load.ts';

const FLOWS = 50_000;
/** The two ends of each flow. */
const SOCKETS = 2 * FLOWS;
/** An entry of a Map takes three words of eight bytes, the smallest object as many. */
const BYTES_PER_SOCKET_MAX = 8;
/** The load takes some seconds; a process of its own ends however it hangs. */
const LOAD_MS_MAX = 300_000;

test(`the JavaScript heap grows by less than ${BYTES_PER_SOCKET_MAX} bytes for each socket that is open, moves and closes`, async (t) => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', join(import.meta.dirname, 'heap-load.ts'), String(FLOWS)],
    { timeout: LOAD_MS_MAX, killSignal: 'SIGKILL' },
  );
  const readings = JSON.parse(stdout) as HeapReading[];
  assert.deepEqual(
    readings.map(({ flows, sockets }) => [flows, sockets]),
    [
      [0, 0],
      [FLOWS, SOCKETS],
      [2 * FLOWS, 2 * SOCKETS],
      [0, 0],
    ],
    'flows of the reducer, sockets of the agents',
  );
  const [before, live, liveTwice, after] = readings.map(({ heapBytes }) => heapBytes);
  const perLive = (liveTwice - live) / SOCKETS;
  const perClosed = (after - before) / (2 * SOCKETS);
  t.diagnostic(`bytes of heap per live socket ${perLive.toFixed(3)}, per closed socket ${perClosed.toFixed(3)}`);
  assert.ok(perLive < BYTES_PER_SOCKET_MAX, `${perLive} bytes for each live socket`);
  assert.ok(perClosed < BYTES_PER_SOCKET_MAX, `${perClosed} bytes for each closed socket`);
});
