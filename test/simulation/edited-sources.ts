// Product code with an edit: host modules as they are loaded, WASM as it is compiled. Each refuses an edit whose text it does not find.
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main as compile } from 'assemblyscript/asc';
import type { Edit } from './rules.ts';

const ROOT = join(import.meta.dirname, '../..');
const ASSEMBLY = 'wasm-modules/assembly';
const FLAGS = [
  '--runtime',
  'stub',
  '--use',
  'abort=',
  '--enable',
  'simd',
  '--maximumMemory',
  '65536',
  '-O1',
  '--noAssert',
];

/** Throws when the text of an edit is not there: the code has changed and the edit has to follow. */
export function applyEdits(file: string, source: string, edits: readonly Edit[]): string {
  let edited = source;
  for (const { find, replace } of edits.filter((edit) => edit.file === file)) {
    if (!edited.includes(find)) throw new Error(`${file} does not contain: ${find}`);
    edited = edited.replace(find, () => replace);
  }
  return edited;
}

/** From now on this thread loads host modules with the edits. */
export function editHostModules(edits: readonly Edit[]): void {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.startsWith('file:') || loaded.source === undefined || loaded.source === null) return loaded;
      const file = relative(ROOT, fileURLToPath(url));
      if (!edits.some((edit) => edit.file === file)) return loaded;
      const source =
        typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString();
      return { ...loaded, source: applyEdits(file, source, edits) };
    },
  });
}

/** Compiles `agent` or `reducer` with the edits. Throws with the compiler's message. */
export async function compileEdited(name: string, edits: readonly Edit[]): Promise<WebAssembly.Module> {
  let binary: Uint8Array<ArrayBuffer> | undefined;
  const { error, stderr } = await compile([`${ASSEMBLY}/${name}/index.ts`, ...FLAGS, '-o', `${name}.wasm`], {
    readFile: (path, baseDir) => readSource(relative(ROOT, join(baseDir, path)), edits),
    writeFile: (_, contents) => {
      if (typeof contents !== 'string') binary = new Uint8Array(contents);
    },
  });
  if (error !== null || binary === undefined) throw new Error(`${name}: ${stderr.toString()}`, { cause: error });
  return new WebAssembly.Module(binary);
}

/** True when the edits change what `compileEdited(name)` gives. */
export function concerns(name: string, edits: readonly Edit[]): boolean {
  const isAgent = (file: string): boolean => file.startsWith(`${ASSEMBLY}/agent/`);
  return edits.some(({ file }) => file.startsWith(`${ASSEMBLY}/`) && isAgent(file) === (name === 'agent'));
}

function readSource(file: string, edits: readonly Edit[]): string | null {
  try {
    return applyEdits(file, readFileSync(join(ROOT, file), 'utf8'), edits);
  } catch (error) {
    // The compiler asks for files that may not exist.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}
