import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { giveReturned, takeReturned } from './returned-memory.ts';

const MIB = 1 << 20;

function residentMib(): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
}

test('the system has memory back when it is given, also where it was transferred to and between memory that stays', () => {
  const { port1, port2 } = new MessageChannel();
  const taken = Array.from({ length: 64 }, () => {
    const memory = takeReturned(MIB).fill(7);
    port1.postMessage(memory, [memory.buffer]);
    return receiveMessageOnPort(port2)?.message as Uint8Array;
  });
  const before = residentMib();
  for (const [index, memory] of taken.entries()) if (index % 8 !== 0) giveReturned(memory);
  const after = residentMib();
  port1.close();
  assert.ok(before - after > 50, `${before} MiB, then ${after}`);
  assert.equal(taken[8][MIB - 1], 7);
});

test('of memory that others use too nothing is freed', () => {
  const shared = new Uint8Array(1_000).fill(3);
  giveReturned(shared.subarray(0, 500));
  assert.equal(shared.byteLength, 1_000);
});
