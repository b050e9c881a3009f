// Compiles entry files of wasm-modules/assembly for tests. A module is kept under the hash of all sources, because every test file
// runs in a process of its own.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const SOURCES = 'wasm-modules/assembly';
const CACHE = 'wasm-modules/build/testing';

/** As the compiler makes the product, before it is optimized further, and with assertions and bounds checks. */
const BUILDS = {
  release: ['-O3', '--noAssert'],
  debug: ['--debug'],
} as const;
export type Build = keyof typeof BUILDS;

/** `entry`: path below wasm-modules/assembly. The compiler's message goes to standard error, and refusal throws. */
export function compileModule(entry: string, build: Build): WebAssembly.Module {
  const options = ['--runtime', 'stub', '--use', 'abort=', '--enable', 'simd', ...BUILDS[build]];
  const file = join(ROOT, CACHE, `${hashInputs(entry, options)}.wasm`);
  if (!existsSync(file)) compileInto(file, entry, options);
  return new WebAssembly.Module(readFileSync(file));
}

function hashInputs(entry: string, options: string[]): string {
  const hash = createHash('sha256').update(JSON.stringify([entry, options]));
  for (const path of globSync(`${SOURCES}/**/*.ts`, { cwd: ROOT }).sort()) {
    if (!path.endsWith('.test.ts')) hash.update(path).update(readFileSync(join(ROOT, path)));
  }
  return hash.digest('hex').slice(0, 32);
}

function compileInto(file: string, entry: string, options: string[]): void {
  const asc = join(ROOT, 'node_modules/assemblyscript/bin/asc.js');
  const partial = `${file}.${process.pid}`;
  mkdirSync(join(ROOT, CACHE), { recursive: true });
  execFileSync(process.execPath, [asc, join(SOURCES, entry), ...options, '-o', partial], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  renameSync(partial, file);
}
