// Programs that tests need and no distribution carries in the version we need: built from a Go module in a folder beside this
// file, through the Go module proxy, and kept outside the clone under the hash of that folder, so once per machine. What Go
// itself keeps of modules and objects, more than a gigabyte, is removed again.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runStep } from '../../host/launch/run-step.ts';

interface Recipe {
  /** Executables that the build makes, each named after the last part of its package. */
  programs: readonly string[];
  packages: readonly string[];
  flags: readonly string[];
}

/** By the folder of the module. */
const RECIPES = {
  otelcol: { programs: ['otelcol'], packages: ['.'], flags: [] },
  prometheus: {
    programs: ['prometheus', 'promtool'],
    packages: ['prometheus', 'promtool'].map((name) => `github.com/prometheus/prometheus/cmd/${name}`),
    // Without the clients of every cloud, since a test names its targets.
    flags: ['-tags', 'netgo,remove_all_sd'],
  },
} as const satisfies Record<string, Recipe>;

export type PartName = keyof typeof RECIPES;
const PART_NAMES = Object.keys(RECIPES) as PartName[];
export type ProgramName = (typeof RECIPES)[PartName]['programs'][number];

/** Either the program's path, or why a test that needs it is to be skipped. */
export type Part = { path: string; skip?: undefined } | { path?: undefined; skip: string };

const BUILD_ARGS = ['build', '-mod=readonly', '-trimpath', '-ldflags', '-s -w'];
const GO_RELEASE = 'go1.26.8';
/** From here on a Go that is too old for a module fetches a newer one by itself. */
const GO_MINOR_OF_TOOLCHAINS = 21;

/** The program from the cache. Builds nothing: a test should not take minutes of a processor unasked. */
export async function requirePart(name: ProgramName): Promise<Part> {
  const path = cachePath(name);
  return existsSync(path) ? { path } : { skip: `${name} is not built; npm test builds it` };
}

/** Builds every part that is not in the cache. Returns a sentence for each that cannot be had. */
export async function buildParts(): Promise<string[]> {
  const complaints: string[] = [];
  const isMissing = (part: PartName): boolean => !RECIPES[part].programs.every((name) => existsSync(cachePath(name)));
  for (const name of PART_NAMES.filter(isMissing)) {
    await buildPart(name).catch((error: Error) => {
      complaints.push(`${name} cannot be had, tests that need it are skipped: ${error.message}`);
    });
  }
  return complaints;
}

interface GoEnvironment extends NodeJS.ProcessEnv {
  GOMODCACHE: string;
}

async function buildPart(name: PartName): Promise<void> {
  const { programs, packages, flags } = RECIPES[name];
  const work = `${cachePath(name)}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  const env: GoEnvironment = {
    CGO_ENABLED: '0',
    GOCACHE: join(work, 'objects'),
    GOMODCACHE: join(work, 'modules'),
    GOFLAGS: '-modcacherw -buildvcs=false',
    GOTOOLCHAIN: process.env.GOTOOLCHAIN ?? 'auto',
  };
  try {
    await runStep({
      title: `build ${name} (once per machine, minutes)`,
      command: 'nice',
      args: ['-n', '10', await findGo(env), ...BUILD_ARGS, ...flags, '-o', `${work}/`, ...packages],
      cwd: join(import.meta.dirname, name),
      env,
    });
    for (const program of programs) renameSync(join(work, program), cachePath(program));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** A Go that can build the parts. Throws when there is none on the path. */
async function findGo(env: GoEnvironment): Promise<string> {
  const { stdout } = await promisify(execFile)('go', ['version']);
  const minor = Number(/go1\.(\d+)/.exec(stdout)?.[1]);
  return minor >= GO_MINOR_OF_TOOLCHAINS ? 'go' : await fetchGo(env);
}

/** What a newer Go does by itself: a Go release is a module, too. Modules keep no permissions, so its programs get theirs here. */
async function fetchGo(env: GoEnvironment): Promise<string> {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const release = `golang.org/toolchain@v0.0.1-${GO_RELEASE}.linux-${arch}`;
  // Not from inside a module, whose go.mod an old Go does not understand.
  await runStep({ title: `fetch ${GO_RELEASE}`, command: 'go', args: ['mod', 'download', release], cwd: '/', env });
  const folder = join(env.GOMODCACHE, release);
  const programs = [join(folder, 'bin'), join(folder, 'pkg/tool', `linux_${arch}`)];
  for (const place of programs) for (const file of readdirSync(place)) chmodSync(join(place, file), 0o755);
  return join(folder, 'bin/go');
}

function cachePath(program: ProgramName): string {
  const part = PART_NAMES.find((name) => (RECIPES[name].programs as readonly string[]).includes(program));
  if (part === undefined) throw new TypeError(`${program} belongs to no part`);
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  return join(cache, 'tributary/parts', hashRecipe(part), program);
}

function hashRecipe(name: PartName): string {
  const folder = join(import.meta.dirname, name);
  const { flags } = RECIPES[name];
  const hash = createHash('sha256').update([...BUILD_ARGS, ...flags].join('\0'));
  for (const file of readdirSync(folder).sort()) hash.update(`\0${file}\0`).update(readFileSync(join(folder, file)));
  return hash.digest('hex').slice(0, 16);
}
