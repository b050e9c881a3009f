// The two builds of agent.wasm, compiled when they are out of date.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildWasm } from '../../launch/build-wasm.ts';

const FOLDER = join(import.meta.dirname, '../../../wasm-modules/build');

export const BUILDS = ['agent.wasm', 'agent.debug.wasm'] as const;

await buildWasm(['agent']);

export function loadModule(build: (typeof BUILDS)[number]): WebAssembly.Module {
  return new WebAssembly.Module(readFileSync(join(FOLDER, build)));
}
