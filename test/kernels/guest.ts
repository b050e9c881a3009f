// A virtual machine without a disk: a kernel of Debian, and in its initial disk Node with the libraries it needs, the addon, the eBPF
// objects and the sources that the workload imports. The processor is emulated (TCG), so no right to virtualise is needed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { ANSWER_PREFIX } from './answer.ts';
import type { Machine } from './machines.ts';

const ROOT = join(import.meta.dirname, '../..');
/** What the workload imports. */
const SOURCES = [
  ...['bpf/addon/index.ts', 'bpf/addon/package.json', 'bpf/programs/testing'],
  ...['host', 'node_modules/flatbuffers', 'wasm-modules/build/agent.wasm'],
];
const WORKLOAD = import.meta.dirname;
const MEMORY_MIB = 1024;
/** Boot and workload take some ten seconds; the rest is for a machine that does much else. */
const PATIENCE_MS = 600_000;

/** Writes the guest's initial disk to `path`. */
export async function packGuest(machine: Machine, path: string): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'guest-'));
  const put = (source: string, target: string): void => {
    mkdirSync(join(root, dirname(target)), { recursive: true });
    copyFileSync(source, join(root, target));
  };
  try {
    for (const folder of ['proc', 'sys', 'dev']) mkdirSync(join(root, folder));
    put(machine.busybox, 'bin/busybox');
    put(machine.node, 'bin/node');
    put(machine.addon, 'tributary/bpf/addon/build/tributary_bpf.node');
    for (const [target, source] of machine.libraries) put(source, target);
    for (const source of SOURCES)
      cpSync(join(ROOT, source), join(root, 'tributary', source), { recursive: true, dereference: true });
    cpSync(machine.objects, join(root, 'tributary/bpf/build'), { recursive: true });
    cpSync(WORKLOAD, join(root, 'tributary/test/kernels'), {
      recursive: true,
      filter: (source) => source !== join(WORKLOAD, 'build'),
    });
    mkdirSync(join(root, 'tributary/node_modules/@tributary'));
    symlinkSync('../../bpf/addon', join(root, 'tributary/node_modules/@tributary/bpf'));
    put(join(WORKLOAD, 'init'), 'init');
    chmodSync(join(root, 'init'), 0o755);
    await writeArchive(root, path);
  } finally {
    rmSync(root, { recursive: true });
  }
}

async function writeArchive(root: string, path: string): Promise<void> {
  const cpio = spawn('sh', ['-c', 'find . | cpio -o -H newc --quiet'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const file = createWriteStream(path);
  cpio.stdout.pipe(file);
  const [[code]] = await Promise.all([once(cpio, 'close'), once(file, 'close')]);
  if (code !== 0) throw new Error(`cpio ended with exit code ${code}`);
}

export interface Boot {
  machine: Machine;
  image: string;
  initialDisk: string;
}

/** Boots, and returns what the workload wrote behind ANSWER_PREFIX, line by line. Throws with the console's end when there is nothing. */
export async function bootGuest({ machine, image, initialDisk }: Boot): Promise<string[]> {
  const [emulator, ...special] = machine.emulator;
  const child = spawn(
    emulator,
    [
      ...special,
      ...['-accel', 'tcg', '-cpu', 'max', '-m', `${MEMORY_MIB}`, '-smp', '1', '-nographic', '-no-reboot'],
      ...['-kernel', image, '-initrd', initialDisk],
      ...['-append', `console=${machine.console} panic=-1 quiet mitigations=off`],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], timeout: PATIENCE_MS },
  );
  const answers: string[] = [];
  const console: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const start = line.indexOf(ANSWER_PREFIX);
    if (start >= 0) answers.push(line.slice(start + ANSWER_PREFIX.length));
    else console.push(line);
  }
  if (answers.length === 0)
    throw new Error(`the guest gave no answer; its console ends:\n${console.slice(-40).join('\n')}`);
  return answers;
}
