// Packages of any release and processor of Debian, from the archive that this machine's apt is configured for: downloaded and unpacked,
// never installed. The machine's own package lists are not touched.
import * as childProcess from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const execFile = promisify(childProcess.execFile);

export type Architecture = 'amd64' | 'arm64';

/** Where something comes from. */
export interface Origin {
  release: string;
  architecture: Architecture;
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const PATIENCE_MS = 300_000;

/** What was fetched is kept here, outside the clone; removing a folder fetches it anew. */
export function cachePath(name: string): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tributary', 'kernels', name);
}

/** Unpacks packages into `path`, which must not be there yet. `@NAME` stands for the package that NAME depends on. */
export async function fetchPackages(origin: Origin, names: string[], path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const work = mkdtempSync(join(dirname(path), 'fetch-'));
  try {
    const options = await listRelease(origin, work);
    const resolved: string[] = [];
    for (const name of names) resolved.push(name.startsWith('@') ? await resolve(name.slice(1), options, work) : name);
    await run('apt-get', [...options, 'download', ...resolved], work);
    const archives = readdirSync(work).filter((file) => file.endsWith('.deb'));
    for (const archive of archives) await run('dpkg', ['-x', archive, 'unpacked'], work);
    renameSync(join(work, 'unpacked'), path);
  } finally {
    rmSync(work, { recursive: true });
  }
}

async function resolve(metaPackage: string, options: string[], work: string): Promise<string> {
  const depends = await run('apt-cache', [...options, 'depends', metaPackage], work);
  const name = depends.match(/Depends: (\S+)/)?.[1];
  if (name === undefined) throw new Error(`${metaPackage} depends on nothing`);
  return name;
}

/** Returns the options with which apt reads the lists of this release. */
async function listRelease({ release, architecture }: Origin, work: string): Promise<string[]> {
  const targets = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'], work);
  const main = targets.split('\n').find((uri) => uri.endsWith('/debian/'));
  if (main === undefined) throw new Error("this machine's package archive is not Debian's");
  const security = main.replace(/debian\/$/, 'debian-security/');
  const list = join(work, 'release.list');
  writeFileSync(
    list,
    `deb [signed-by=${KEYRING}] ${main} ${release} main\ndeb [signed-by=${KEYRING}] ${security} ${release}-security main\n`,
  );
  mkdirSync(join(work, 'lists/partial'), { recursive: true });
  mkdirSync(join(work, 'cache/archives/partial'), { recursive: true });
  const options = [
    `Dir::Etc::SourceList=${list}`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::lists=${join(work, 'lists')}`,
    `Dir::Cache=${join(work, 'cache')}`,
    `APT::Architecture=${architecture}`,
    `APT::Architectures=${architecture}`,
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    'Acquire::Languages=none',
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  await run('apt-get', [...options, 'update'], work);
  return options;
}

/** Returns what the command printed. */
export async function run(command: string, args: string[], cwd: string): Promise<string> {
  const { stdout } = await execFile(command, args, { cwd, timeout: PATIENCE_MS, maxBuffer: 1 << 26 });
  return stdout;
}
