// A thread with nothing to do but to notice how late its event loop is: what a worker of the reducer would feel of an export in the main thread.

import { strict as assert } from 'node:assert';
import { parentPort } from 'node:worker_threads';
import { LoopWatch } from './loop-watch.ts';

assert(parentPort !== null);
const port = parentPort;
const watch = new LoopWatch();

port.on('message', (order: 'begin' | 'read') => {
  if (order === 'begin') watch.begin();
  port.postMessage(watch.read());
});
