// The product's tables in WebAssembly, compiled at the start of a run by the product's compiler and with its flags; wasm-opt does not follow.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runStep } from '../../host/launch/run-step.ts';
import { makeTexts, type Side } from './side.ts';

const ROOT = join(import.meta.dirname, '../..');
const NAME = 'tributary (wasm)';

interface Exports extends WebAssembly.Exports {
  memory: WebAssembly.Memory;
  table_fill(count: number): void;
  table_lookup(from: number, count: number): number;
  table_join(from: number, count: number): number;
  histogram_fill(count: number): void;
  histogram_add(from: number, count: number): number;
  histogram_checksum(): number;
  text_space(count: number): number;
  text_fill(): void;
  text_intern(from: number, count: number): number;
}

/** Throws StepError with the compiler's messages. */
export async function compileKernels(): Promise<WebAssembly.Module> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-kernels-'));
  try {
    const path = join(folder, 'kernels.wasm');
    const flags = ['--runtime', 'stub', '--use', 'abort=', '--enable', 'simd', '--maximumMemory', '65536'];
    const optimized = ['-O3', '--noAssert', '--converge', '--outFile', path];
    const args = ['node_modules/assemblyscript/bin/asc.js', 'bench/kernels/assembly/index.ts', ...flags, ...optimized];
    await runStep({ title: 'compile the kernels', command: process.execPath, args, cwd: ROOT });
    return new WebAssembly.Module(readFileSync(path));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function instantiate(module: WebAssembly.Module): Exports {
  return new WebAssembly.Instance(module, {}).exports as Exports;
}

export function productLookup(module: WebAssembly.Module, size: number): Side {
  const kernels = instantiate(module);
  kernels.table_fill(size);
  return { name: NAME, run: (from, count) => kernels.table_lookup(from, count) >>> 0 };
}

export function productJoin(module: WebAssembly.Module, size: number): Side {
  const kernels = instantiate(module);
  kernels.table_fill(size);
  return { name: NAME, run: (from, count) => kernels.table_join(from, count) >>> 0 };
}

export function productHistogram(module: WebAssembly.Module, size: number): Side {
  const kernels = instantiate(module);
  kernels.histogram_fill(size);
  return {
    name: NAME,
    run: (from, count) => kernels.histogram_add(from, count) >>> 0,
    checksum: () => kernels.histogram_checksum() >>> 0,
  };
}

export function productIntern(module: WebAssembly.Module, size: number): Side {
  const kernels = instantiate(module);
  const address = kernels.text_space(size) >>> 0;
  const texts = makeTexts(size);
  new Uint8Array(kernels.memory.buffer, address, texts.length).set(texts);
  kernels.text_fill();
  return { name: NAME, run: (from, count) => kernels.text_intern(from, count) >>> 0 };
}
