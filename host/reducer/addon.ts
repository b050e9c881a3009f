// What the reducer asks of the kernel that Node has no call for. Nothing depends on it: without the addon it does the same, with more work.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

export const ADDON_PATH = join(import.meta.dirname, 'addon/build/reducer.node');

export interface Addon {
  /** Huge pages for all that the memory can grow to. False when the kernel refuses. */
  advise(buffer: ArrayBufferLike): boolean;
  /** Another descriptor of the same open file. Throws Error with what the kernel says. */
  duplicate(descriptor: number): number;
}

/** Throws Error when it is not built, or not for this machine. */
export function loadAddon(path = ADDON_PATH): Addon {
  if (!existsSync(path)) throw new Error(`${path} is not built; run: npm run build:reducer-addon`);
  return createRequire(import.meta.url)(path);
}
