// Compiles the WebAssembly modules. A module is up to date when the hash of all that it is made from is the one noted beside it;
// times of files are of no use, since a fresh clone gives every file the time of the clone.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { runStep } from './run-step.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const SOURCE_FOLDER = join(ROOT, 'wasm-modules/assembly');
const OUTPUT_FOLDER = join(ROOT, 'wasm-modules/build');
const COMPILER = 'node_modules/assemblyscript/bin/asc.js';
const OPTIMIZER = 'node_modules/binaryen/bin/wasm-opt';
/** Packages whose version decides what a module becomes. */
const TOOLS = ['assemblyscript', 'binaryen'];

/** Each module with the folders that its code may lie in; `index.ts` of the first is its entry. */
const MODULES: Record<string, string[]> = {
  agent: ['agent', 'lib', 'gen'],
  reducer: ['reducer', 'ingest', 'match', 'enrich', 'aggregate', 'lib', 'gen'],
};

// No imports at all: a trap needs no function of the host. Memory grows up to the 4 GiB that a 32-bit address can name.
const COMMON_FLAGS = ['--runtime', 'stub', '--use', 'abort=', '--enable', 'simd', '--maximumMemory', '65536'];
/** What the compiler's code asks for and the optimizer must be told. */
const FEATURES = ['simd', 'bulk-memory', 'sign-ext', 'nontrapping-float-to-int', 'mutable-globals'];
/**
 * The compiler's -O3 inlines what is smaller than its call, and its limits cannot be told. A record passes through dozens of functions a little
 * larger than that, each of which spills what its caller knows: limits of clang's order make the code half as large again and the loop faster.
 */
const INLINING = [
  ...['--always-inline-max-function-size', '100'],
  ...['--flexible-inline-max-function-size', '1000'],
  ...['--one-caller-inline-max-function-size', '2000'],
];
const OPTIMIZATION = [...FEATURES.map((feature) => `--enable-${feature}`), ...INLINING, '-O3'];
/** The debug build asserts and names its functions in a trap; only tests load it. */
const BUILDS = {
  release: { suffix: '.wasm', flags: ['-O3', '--noAssert', '--converge'], optimization: OPTIMIZATION },
  debug: { suffix: '.debug.wasm', flags: ['--debug'], optimization: undefined },
};
export type Build = keyof typeof BUILDS;

interface Target {
  /** Name of the module's file. */
  file: string;
  folders: string[];
  flags: string[];
  /** Of wasm-opt; without them it does not run. */
  optimization: string[] | undefined;
}

/** Compiles what is out of date of these modules and builds. Throws StepError with the compiler's messages. */
export async function buildWasm(
  names = Object.keys(MODULES),
  builds: readonly Build[] = ['release', 'debug'],
): Promise<void> {
  mkdirSync(OUTPUT_FOLDER, { recursive: true });
  for (const name of names) {
    const folders = MODULES[name];
    if (folders === undefined) throw new RangeError(`no module ${name}; there are ${Object.keys(MODULES).join(', ')}`);
    for (const build of builds) {
      const { suffix, flags, optimization } = BUILDS[build];
      await compile({ file: `${name}${suffix}`, folders, flags: [...COMMON_FLAGS, ...flags], optimization });
    }
  }
}

async function compile(target: Target): Promise<void> {
  const { file, folders, flags, optimization } = target;
  const output = join(OUTPUT_FOLDER, file);
  const inputs = hashInputs(target);
  if (existsSync(output) && readNote(output) === inputs) return;
  // The final name is given at the end, so that nobody loads half a module. It ends in .wasm, which the compiler asks for.
  const unfinished = `wasm-modules/build/.${process.pid}.${file}`;
  const args = [COMPILER, `wasm-modules/assembly/${folders[0]}/index.ts`, ...flags, '--outFile', unfinished];
  try {
    await runStep({ title: `compile ${file}`, command: process.execPath, args, cwd: ROOT });
    if (optimization !== undefined) {
      const args = [OPTIMIZER, unfinished, ...optimization, '--output', unfinished];
      await runStep({ title: `optimize ${file}`, command: process.execPath, args, cwd: ROOT });
    }
    renameSync(join(ROOT, unfinished), output);
  } finally {
    rmSync(join(ROOT, unfinished), { force: true });
  }
  writeFileSync(noteOf(output), inputs);
}

function hashInputs({ folders, flags, optimization }: Target): string {
  const versions = TOOLS.map((tool) => createRequire(import.meta.url)(`${tool}/package.json`).version);
  const hash = createHash('sha256').update(JSON.stringify([versions, flags, optimization]));
  for (const folder of folders) {
    for (const path of listSources(folder)) hash.update(`\0${path}\0`).update(readFileSync(join(SOURCE_FOLDER, path)));
  }
  return hash.digest('hex');
}

function listSources(folder: string): string[] {
  const entries = readdirSync(join(SOURCE_FOLDER, folder), { recursive: true, encoding: 'utf8' });
  const sources = entries.filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'));
  return sources.sort().map((path) => join(folder, path));
}

function noteOf(output: string): string {
  return `${output}.inputs`;
}

function readNote(output: string): string | undefined {
  return existsSync(noteOf(output)) ? readFileSync(noteOf(output), 'utf8') : undefined;
}
