// The benchmark in its shortest form: that every kind of record passes every format and comes out as it went in, which the run itself asserts.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import * as layout from '../host/wire/gen/wire-layout.ts';

const RUN = join(import.meta.dirname, 'run.ts');
const SOCKETS = 2_000;

interface Kept {
  measured: { kinds: Record<string, { frame: Record<string, { bytes: number }>; json: { bytes: number } }[]> };
}

test('the benchmark of the wire tells as many bytes as the layouts say, and fewer with zstd', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
  try {
    const path = join(folder, 'wire.json');
    const short = ['--sockets', String(SOCKETS), '--rounds', '1', '--warmup', '1', '--json', path];
    await promisify(execFile)(process.execPath, [RUN, 'wire', ...short]);
    const { kinds } = (JSON.parse(readFileSync(path, 'utf8')) as Kept).measured;
    const sizes = {
      ...{ Open: layout.OPEN_SIZE, UpdateWide: layout.UPDATE_WIDE_SIZE, UpdateNarrow: layout.UPDATE_NARROW_SIZE },
      ...{ Close: layout.CLOSE_SIZE + layout.TALLY_SIZE, Once: layout.ONCE_SIZE },
    };
    assert.deepEqual(Object.keys(kinds), Object.keys(sizes));
    for (const [kind, size] of Object.entries(sizes)) {
      const [{ frame, json }] = kinds[kind];
      const heads = frame.plain.bytes - size * SOCKETS;
      // A header of 16 bytes and a prefix of 24 for each frame of at most 64 KiB.
      assert.ok(heads > 0 && heads % 40 === 0 && heads <= 40 * (2 + (size * SOCKETS) / 60_000), `${kind}: ${heads}`);
      assert.equal(frame.crc.bytes, frame.plain.bytes, kind);
      assert.ok(frame.zstd.bytes < frame.plain.bytes && frame.plain.bytes < json.bytes, kind);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
