// The machine's own compilers, found at run time, and what they make of src/: the native reducer, and where clang can, the same code for WebAssembly.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeCHeader } from '../../schemas/generator/c-header.ts';
import { compileSchema } from '../../schemas/generator/flatc.ts';
import { readSchema } from '../../schemas/generator/schema.ts';

const ROOT = join(import.meta.dirname, '../..');
const SOURCE = join(import.meta.dirname, 'src');
const COMPILERS = ['g++', 'clang++'] as const;
const LANGUAGE = ['-std=c++20', '-O3', '-fno-exceptions', '-fno-rtti'];
const SCHEMAS = ['wire', 'records'];
const KERNEL_HEADER = 'kernel_events.h';

export class ToolchainError extends Error {}

export interface Compiler {
  command: string;
  /** First line of `--version`. */
  version: string;
}

/** Those that are installed. Throws ToolchainError when there is none. */
export function findCompilers(): Compiler[] {
  const found = COMPILERS.flatMap((command) => {
    const version = versionOf(command);
    return version === undefined ? [] : [{ command, version }];
  });
  if (found.length > 0) return found;
  throw new ToolchainError(
    `no C++ compiler is installed (${COMPILERS.join(' or ')}). The package g++ has one: apt-get install g++`,
  );
}

function versionOf(command: string): string | undefined {
  const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n', 1)[0] : undefined;
}

/** The layouts of schemas/ as headers, the way programs in C see them. */
export async function writeHeaders(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(ROOT, 'bpf/include/gen', KERNEL_HEADER), join(folder, KERNEL_HEADER));
  for (const name of SCHEMAS) {
    const text = readFileSync(join(ROOT, 'schemas', `${name}.fbs`), 'utf8');
    const { binarySchema } = await compileSchema(name, text);
    writeFileSync(join(folder, `${name}.h`), writeCHeader(readSchema(name, binarySchema, text)));
  }
}

/** Path of the binary. Throws ToolchainError with the compiler's words when it refuses. */
export function compileNative({ command }: Compiler, folder: string): string {
  const binary = join(folder, `reducer-${command.replaceAll('+', 'p')}`);
  compile(command, [...LANGUAGE, '-march=native', '-I', folder, join(SOURCE, 'main.cpp'), '-o', binary]);
  return binary;
}

export type ClangObject = { module: WebAssembly.Module; version: string } | { missing: string };

/** The same code as a WebAssembly object that is not linked, or why there is none. `firstWindow`: the one that is open at first. */
export function compileObject(folder: string, firstWindow: number): ClangObject {
  const version = versionOf('clang++');
  if (version === undefined) return { missing: 'clang++ is not installed: apt-get install clang' };
  const { stdout } = spawnSync('clang++', ['--print-targets'], { encoding: 'utf8' });
  if (!/^\s*wasm32\s/m.test(stdout)) return { missing: `${version} has no target wasm32` };
  const object = join(folder, 'reducer.o');
  const target = ['--target=wasm32', '-ffreestanding', '-nostdlib', '-mbulk-memory', '-msimd128'];
  const define = `-DFIRST_WINDOW=${firstWindow}`;
  compile('clang++', [...LANGUAGE, ...target, define, '-I', folder, '-c', join(SOURCE, 'wasm.cpp'), '-o', object]);
  return { module: new WebAssembly.Module(readFileSync(object)), version };
}

function compile(command: string, args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new ToolchainError(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
}
