// The WebAssembly modules of the simulation, compiled once per thread.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Modules } from './fleet.ts';

const BUILD_FOLDER = join(import.meta.dirname, '../../wasm-modules/build');

export function loadModules(suffix = '.wasm'): Modules {
  const load = (name: string): WebAssembly.Module =>
    new WebAssembly.Module(readFileSync(join(BUILD_FOLDER, `${name}${suffix}`)));
  return { agent: load('agent'), reducer: load('reducer') };
}
