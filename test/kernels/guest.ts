// A virtual machine without a disk: a kernel of Debian, and in its initial RAM disk this machine's Node with its libraries, the addon,
// the eBPF objects and the host's sources. qemu emulates the processor (TCG), so it needs no right to virtualise.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, cpSync, createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { ANSWER_PREFIX } from './answer.ts';

const ROOT = join(import.meta.dirname, '../..');
/** What the workload imports, and what that loads. */
const SOURCES = [
  'bpf/addon/index.ts',
  'bpf/addon/build/tributary_bpf.node',
  'bpf/build',
  'bpf/programs/testing',
  'host/wire/gen',
];
const MEMORY_MIB = 1024;
/** Boot and workload take some ten seconds; the rest is for a machine that does much else. */
const PATIENCE_MS = 600_000;

/** Writes the guest's initial RAM disk to `path`. */
export async function packGuest(path: string): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'guest-'));
  try {
    mkdirSync(join(root, 'bin'));
    for (const folder of ['proc', 'sys', 'dev']) mkdirSync(join(root, folder));
    copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
    copyFileSync(process.execPath, join(root, 'bin/node'));
    const addon = join(ROOT, 'bpf/addon/build/tributary_bpf.node');
    for (const library of await listLibraries(process.execPath, addon)) {
      mkdirSync(join(root, dirname(library)), { recursive: true });
      copyFileSync(library, join(root, library));
    }
    for (const source of [...SOURCES, 'test/kernels'])
      cpSync(join(ROOT, source), join(root, 'tributary', source), { recursive: true });
    cpSync(join(import.meta.dirname, 'init'), join(root, 'init'));
    chmodSync(join(root, 'init'), 0o755);
    await pack(root, path);
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** The dynamic loader and every library that these files need, as the loader finds them. */
async function listLibraries(...files: string[]): Promise<Set<string>> {
  const { stdout } = await promisify(execFile)('ldd', files);
  return new Set([...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path]) => path));
}

async function pack(root: string, path: string): Promise<void> {
  const cpio = spawn('sh', ['-c', 'find . | cpio -o -H newc --quiet'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cpio.stdout.pipe(createWriteStream(path));
  const [code] = await once(cpio, 'close');
  if (code !== 0) throw new Error(`cpio ended with exit code ${code}`);
}

export interface Boot {
  image: string;
  initialDisk: string;
}

/** Boots, and returns what the workload wrote behind ANSWER_PREFIX, line by line. Throws with the console's end when there is nothing. */
export async function bootGuest({ image, initialDisk }: Boot): Promise<string[]> {
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...['-accel', 'tcg', '-cpu', 'max', '-m', `${MEMORY_MIB}`, '-smp', '1', '-nographic', '-no-reboot'],
      ...['-kernel', image, '-initrd', initialDisk],
      ...['-append', 'console=ttyS0 panic=-1 quiet mitigations=off'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], timeout: PATIENCE_MS },
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
