// Programs that tests need and no distribution carries in the version we need: built from a Go module in a folder beside this
// file, through the Go module proxy, and kept outside the clone under the hash of that folder. So a program is built once per
// machine, and neither of Go's own caches has to survive.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runStep } from '../../host/launch/run-step.ts';

const PARTS = ['otelcol'] as const;
export type PartName = (typeof PARTS)[number];

/** Either the program's path, or why a test that needs it is to be skipped. */
export type Part = { path: string; skip?: undefined } | { path?: undefined; skip: string };

const BUILD_ARGS = ['build', '-mod=readonly', '-buildvcs=false', '-trimpath', '-ldflags', '-s -w'];
/** Where the tarball of go.dev puts it when it is not on the path. */
const GO_PLACES = ['go', '/usr/local/go/bin/go'];

/** The part from the cache. Builds nothing: a test should not take minutes of a processor unasked. */
export async function requirePart(name: PartName): Promise<Part> {
  const path = cachePath(name);
  if (existsSync(path)) return { path };
  const go = await findGo();
  const remedy = go === undefined ? 'install Go 1.21 or later, then run' : 'run';
  return { skip: `${name} is not built; ${remedy}: npm test` };
}

/** Builds every part that is not in the cache. Returns a sentence for each that cannot be had. */
export async function buildParts(): Promise<string[]> {
  const complaints: string[] = [];
  for (const name of PARTS) {
    if (existsSync(cachePath(name))) continue;
    const complaint = await buildPart(name).catch((error: Error) => error.message);
    if (complaint !== undefined) complaints.push(`${name} cannot be had, tests that need it are skipped: ${complaint}`);
  }
  return complaints;
}

async function buildPart(name: PartName): Promise<string | undefined> {
  const go = await findGo();
  if (go === undefined) return 'there is no Go compiler; install Go 1.21 or later';
  const path = cachePath(name);
  mkdirSync(join(path, '..'), { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  await runStep({
    title: `build ${name} (once, some minutes)`,
    command: 'nice',
    args: ['-n', '10', go, ...BUILD_ARGS, '-o', unfinished, '.'],
    cwd: join(import.meta.dirname, name),
    // A Go that is older than go.mod asks for fetches the right one as a module of its own.
    env: {
      CGO_ENABLED: '0',
      GOTOOLCHAIN: process.env.GOTOOLCHAIN ?? 'auto',
      GOCACHE: process.env.GOCACHE ?? defaultGoCache(),
    },
  });
  renameSync(unfinished, path);
  return undefined;
}

/** Where Go itself would put it; told because a service or a container may have no home. */
function defaultGoCache(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir() || tmpdir(), '.cache'), 'go-build');
}

async function findGo(): Promise<string | undefined> {
  for (const go of GO_PLACES) {
    try {
      await promisify(execFile)(go, ['version']);
      return go;
    } catch {
      // Not there, or not for this machine: the next place may be.
    }
  }
  return undefined;
}

function cachePath(name: PartName): string {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  return join(cache, 'tributary/parts', hashRecipe(name), name);
}

function hashRecipe(name: PartName): string {
  const folder = join(import.meta.dirname, name);
  const hash = createHash('sha256').update(BUILD_ARGS.join('\0'));
  for (const file of readdirSync(folder).sort()) hash.update(`\0${file}\0`).update(readFileSync(join(folder, file)));
  return hash.digest('hex').slice(0, 16);
}
