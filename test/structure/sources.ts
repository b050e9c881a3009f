// The source files of the repository and what each of them imports, for tests about the shape of the whole.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

const SOURCE_FOLDERS = ['host', 'schemas', 'bpf', 'wasm-modules'];
/** Statements begin a line, which keeps out the code that the generators hold in strings; `import()` is found anywhere. */
const IMPORT = /(?:^(?:import|export)\b[^;'"`]*?\bfrom\s+|^import\s+|\bimport\()(['"])([^'"\n]+)\1/gm;

/** Packages that are parts of this repository. */
const WORKSPACES: Record<string, string> = { '@tributary/bpf': 'bpf/addon/index.ts' };

export interface SourceFile {
  /** From the root of the repository. */
  path: string;
  /** Its text, in which comments are empty lines. */
  code: string;
  /** Files of this repository, from its root; without `.ts` where AssemblyScript writes them so. */
  files: string[];
  /** Names of packages and of Node's own modules (`node:fs`). */
  packages: string[];
}

/** Product code: tests and what only tests use (`testing/`) may reach for anything. */
export function readSources(): SourceFile[] {
  const paths = SOURCE_FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)),
  );
  return paths.filter(isProductCode).map(readSource);
}

function isProductCode(path: string): boolean {
  if (!path.endsWith('.ts') || path.endsWith('.test.ts')) return false;
  return !/(^|\/)(node_modules|build|testing)\//.test(path);
}

/** One file, whatever it is. */
export function readSource(path: string): SourceFile {
  const code = withoutComments(readFileSync(join(ROOT, path), 'utf8'));
  const files: string[] = [];
  const packages: string[] = [];
  for (const [, , target] of code.matchAll(IMPORT)) {
    if (target.startsWith('.')) files.push(normalize(join(dirname(path), target)));
    else packages.push(packageOf(target));
    if (target in WORKSPACES) files.push(WORKSPACES[target]);
  }
  return { path, code, files, packages };
}

/** Enough to keep sentences and commented examples out: whole-line comments. */
function withoutComments(text: string): string {
  return text.replaceAll(/^[ \t]*(\/\/|\/?\*).*$/gm, '');
}

function packageOf(target: string): string {
  if (target.startsWith('node:')) return target;
  return target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/');
}

/** `host/wire/frame.ts` is in part `host/wire`, `wasm-modules/assembly/match/close.ts` in `wasm/match`. */
export function partOf(path: string): string {
  const [area, part, deeper] = relative('.', path).split('/');
  return area === 'wasm-modules' && part === 'assembly' ? `wasm/${deeper}` : `${area}/${part}`;
}
