// Huge pages (2 MiB) for the memory of a module. Its tables are far larger than what the processor's TLB reaches with pages of 4 KiB, and
// where `transparent_hugepage/enabled` is `madvise`, as on Ubuntu, the kernel gives them to whoever asks. V8 does not.
import { existsSync, readFileSync } from 'node:fs';
import { ADDON_PATH, loadAddon } from './addon.ts';

/** `always [madvise] never`: what is in brackets counts. */
const MODE_PATH = '/sys/kernel/mm/transparent_hugepage/enabled';

export interface HugePages {
  /** Why there are none. */
  missing?: string;
  /** Does nothing where there are none: the memory is the same, with small pages. */
  advise: (memory: WebAssembly.Memory) => void;
}

export function openHugePages({ addonPath = ADDON_PATH, modePath = MODE_PATH } = {}): HugePages {
  try {
    const mode = readMode(modePath);
    if (mode === undefined || mode === 'never')
      return none(mode === undefined ? 'the kernel has none' : `${modePath} says never`);
    const addon = loadAddon(addonPath);
    return { advise: ({ buffer }) => void addon.advise(buffer) };
  } catch (error) {
    return none(error instanceof Error ? error.message : String(error));
  }
}

function readMode(path: string): string | undefined {
  return existsSync(path) ? /\[(\w+)\]/.exec(readFileSync(path, 'utf8'))?.[1] : undefined;
}

function none(missing: string): HugePages {
  return { missing, advise: () => {} };
}
