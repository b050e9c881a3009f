// What leaves this process's resident memory, as the kernel counts it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { dropFilePages, trimHeap } from './index.ts';

/** `RssAnon` or `RssFile` of /proc/self/status, KiB (proc_pid_status(5)). */
function residentKib(field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  assert.ok(match, field);
  return Number(match[1]);
}

test('pages of program files leave the process, and come back where they are needed', () => {
  const before = residentKib('RssFile');
  dropFilePages();
  const after = residentKib('RssFile');
  assert.ok(after < before / 2, `${before} KiB before, ${after} KiB after`);
  // Compiled, parsed and converted by code whose pages were dropped.
  assert.equal(new Function('text', 'return JSON.parse(text).at(-1).toLocaleString("en")')('[1,12345]'), '12,345');
});

test('blocks that were freed between others go back to the kernel', async () => {
  // Too small for a mapping of their own; every second one stays, so that the heap cannot shrink from its end.
  const blocks = Array.from({ length: 1024 }, () => new Uint8Array(new ArrayBuffer(64 * 1024)).fill(1));
  for (const [index, block] of blocks.entries()) if (index % 2 === 1) block.buffer.transfer(0);
  const before = residentKib('RssAnon');
  trimHeap();
  const after = residentKib('RssAnon');
  assert.ok(before - after > 16 * 1024, `${before} KiB before, ${after} KiB after`);
  assert.equal(blocks[0][0], 1);
});
