// Debian's own kernels.
import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import { type Architecture, cachePath, fetchPackages } from './debian-packages.ts';

export interface Kernel {
  /** `MAJOR.MINOR`, as uname begins. */
  name: string;
  architecture: Architecture;
  /** The release of Debian that brings it. */
  release: string;
}

/** Either where the kernel lies, or why a test that needs it is to be skipped. */
export type KernelImage = { image: string; skip?: undefined } | { skip: string };

/** The kernel from the cache, or from the archive. */
export async function fetchKernel({ name, architecture, release }: Kernel): Promise<KernelImage> {
  const path = cachePath(`linux-${name}-${architecture}`);
  try {
    // The cloud kernel has what a virtual machine needs built in, and is the smallest.
    if (!existsSync(path)) await fetchPackages({ release, architecture }, [`@linux-image-cloud-${architecture}`], path);
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    return { skip: `Linux ${name} of ${architecture} cannot be fetched: ${reason}` };
  }
  return { image: join(path, globSync('boot/vmlinuz-*', { cwd: path })[0]) };
}
