// Huge pages as the kernel has them: /proc/PID/smaps says of each mapping whether they were asked for (`hg`, proc_pid_smaps(5)).
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { openHugePages } from '../../host/reducer/huge-pages.ts';

const MAIN = join(import.meta.dirname, '../../host/cmd/main.ts');
const MODE_PATH = '/sys/kernel/mm/transparent_hugepage/enabled';
const WASM_PAGE_BYTES = 65_536;
const ADDRESSABLE_BYTES = 2 ** 32;

const hasThem = existsSync(MODE_PATH) && !readFileSync(MODE_PATH, 'utf8').includes('[never]');
const onThem = { skip: hasThem ? undefined : `${MODE_PATH} gives none`, timeout: 240_000 };

interface Mapping {
  begin: number;
  end: number;
  isAdvised: boolean;
  hugeBytes: number;
}

function readMappings(pid: number | 'self'): Mapping[] {
  const parts = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/);
  return parts.map((part) => {
    const [, begin, end] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(part) ?? assert.fail(part);
    const [, hugeKib] = /^AnonHugePages:\s+(\d+) kB$/m.exec(part) ?? assert.fail(part);
    const isAdvised = /^VmFlags:.* hg\b/m.test(part);
    return {
      begin: Number.parseInt(begin, 16),
      end: Number.parseInt(end, 16),
      isAdvised,
      hugeBytes: 1024 * Number(hugeKib),
    };
  });
}

/** Advised mappings that lie side by side, as one. */
function readAdvised(pid: number | 'self'): Mapping[] {
  const ranges: Mapping[] = [];
  for (const mapping of readMappings(pid).filter(({ isAdvised }) => isAdvised)) {
    const before = ranges.at(-1);
    if (before?.end !== mapping.begin) ranges.push({ ...mapping });
    else Object.assign(before, { end: mapping.end, hugeBytes: before.hugeBytes + mapping.hugeBytes });
  }
  return ranges;
}

class Reducer {
  readonly child: ChildProcess;
  readonly lines: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'tributary-huge-'));

  constructor(workers: number, nodeFlags: string[] = []) {
    const api = ['--api', `unix:${join(this.#folder, 'api')}`];
    const args = [...nodeFlags, MAIN, 'reducer', '--listen', '127.0.0.1:0', '--workers', String(workers), ...api];
    this.child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    after(() => {
      this.child.kill('SIGKILL');
      rmSync(this.#folder, { recursive: true });
    });
  }

  /** Every worker has its memory by then. */
  async listens(): Promise<number> {
    for await (const line of createInterface({ input: this.child.stderr ?? assert.fail() })) {
      this.lines.push(line);
      if (line.includes('listening on')) break;
    }
    return this.child.pid ?? assert.fail();
  }
}

test('the memory of each worker of a reducer asks for huge pages, as far as it can grow', onThem, async () => {
  const reducer = new Reducer(2);
  const advised = readAdvised(await reducer.listens());
  assert.deepEqual(
    advised.map(({ begin, end }) => end - begin),
    [ADDRESSABLE_BYTES, ADDRESSABLE_BYTES],
  );
  assert.doesNotMatch(reducer.lines.join('\n'), /huge pages/);
});

test('a reducer that cannot load the addon says so once, and listens', async () => {
  const reducer = new Reducer(2, ['--no-addons']);
  assert.deepEqual(readAdvised(await reducer.listens()), []);
  assert.equal(reducer.lines.filter((line) => line.includes('no huge pages: ')).length, 1, reducer.lines.join('\n'));
});

test('a memory that grew has huge pages where it grew, and what lies behind its 4 GiB is left alone', onThem, () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536 });
  openHugePages().advise(memory);
  memory.grow(1024);
  new Uint8Array(memory.buffer).fill(1);
  const [advised, ...others] = readAdvised('self');
  assert.deepEqual(others, []);
  assert.equal(advised.end - advised.begin, ADDRESSABLE_BYTES);
  // 64 MiB: the kernel may have found some of them in pieces.
  assert.ok(advised.hugeBytes >= 512 * WASM_PAGE_BYTES, `${advised.hugeBytes} bytes`);
});
