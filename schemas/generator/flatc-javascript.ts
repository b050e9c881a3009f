// flatc's TypeScript (export enum, imports of .js) does not run under type stripping, so it is committed as compiled JavaScript with
// declarations. Only what the tables with text need is kept: hot frames are never read through it.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { generatedFrom } from './names.ts';

/** Compiles the files that `entries` import, entries included. Paths are relative to the root of flatc's output. */
export function compileFlatcTypescript(
  typescript: Map<string, string>,
  entries: string[],
  { source, nodeModules }: { source: string; nodeModules: string },
): Map<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'flatc-'));
  try {
    symlinkSync(nodeModules, join(folder, 'node_modules'));
    for (const path of reachable(typescript, entries)) {
      const file = join(folder, 'in', path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, typescript.get(path) ?? '');
    }
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
    execFileSync(process.execPath, [join(nodeModules, 'typescript/lib/tsc.js'), '-p', folder], { stdio: 'inherit' });
    return collect(join(folder, 'out'), source);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const TSCONFIG = {
  compilerOptions: {
    target: 'esnext',
    module: 'nodenext',
    declaration: true,
    strict: true,
    skipLibCheck: true,
    types: [],
    rootDir: 'in',
    outDir: 'out',
  },
  include: ['in'],
};

function reachable(typescript: Map<string, string>, entries: string[]): Set<string> {
  const found = new Set<string>();
  const visit = (path: string): void => {
    const text = typescript.get(path);
    if (text === undefined) throw new Error(`flatc wrote no ${path}`);
    if (found.has(path)) return;
    found.add(path);
    for (const [, target] of text.matchAll(/from '(\..*?)\.js'/g))
      visit(posix.join(posix.dirname(path), `${target}.ts`));
  };
  entries.forEach(visit);
  return found;
}

function collect(folder: string, source: string): Map<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => join(entry.parentPath, entry.name)).sort();
  return new Map(
    paths.map((path) => [path.slice(folder.length + 1), `// ${generatedFrom(source)}\n${readFileSync(path, 'utf8')}`]),
  );
}
