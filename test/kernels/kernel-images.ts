// Debian's own kernels, fetched from the archive that this machine's apt is configured for and kept outside the clone: downloaded
// once, unpacked, never installed.
import * as childProcess from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execFile = promisify(childProcess.execFile);

export interface Kernel {
  /** `MAJOR.MINOR`, as uname begins. */
  name: string;
  /** The release of Debian that brings it. */
  release: string;
}

/** Oldest first. Before 5.10 no kernel of Debian describes its types (BTF), so none can be observed. */
export const KERNELS: readonly Kernel[] = [
  { name: '5.10', release: 'bullseye' },
  { name: '6.1', release: 'bookworm' },
  { name: '6.12', release: 'trixie' },
];

export type Architecture = 'amd64' | 'arm64';

/** Either the folder with a kernel's `boot/` and `lib/modules/`, or why a test that needs it is to be skipped. */
export type KernelImage = { path: string; image: string; skip?: undefined } | { skip: string };

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const PATIENCE_MS = 300_000;

function cachePath(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'tributary', 'kernels');
}

/** The kernel from the cache, or from the archive. A kernel once fetched is kept; remove the folder to get a newer one. */
export async function fetchKernel(kernel: Kernel, architecture: Architecture): Promise<KernelImage> {
  const path = join(cachePath(), `${kernel.name}-${architecture}`);
  try {
    if (!existsSync(path)) await fetchPackage(kernel.release, architecture, path);
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error);
    return { skip: `Linux ${kernel.name} (${architecture}) cannot be fetched: ${reason}` };
  }
  return { path, image: join(path, globSync('boot/vmlinuz-*', { cwd: path })[0]) };
}

async function fetchPackage(release: string, architecture: Architecture, path: string): Promise<void> {
  mkdirSync(cachePath(), { recursive: true });
  const work = mkdtempSync(join(cachePath(), 'fetch-'));
  try {
    const options = await listRelease(release, architecture, work);
    // The cloud kernel has what a virtual machine needs built in, and is the smallest.
    const metaPackage = `linux-image-cloud-${architecture}`;
    const depends = await run('apt-cache', [...options, 'depends', metaPackage], work);
    const name = depends.match(/Depends: (linux-image-\S+)/)?.[1];
    if (name === undefined) throw new Error(`${metaPackage} of ${release} depends on no kernel`);
    await run('apt-get', [...options, 'download', name], work);
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download ${name} left no package`);
    await run('dpkg', ['-x', archive, 'kernel'], work);
    renameSync(join(work, 'kernel'), path);
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** Package lists of their own, so that the machine's are not touched. Returns the options with which apt reads them. */
async function listRelease(release: string, architecture: Architecture, work: string): Promise<string[]> {
  const uris = (await run('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'], work)).split(
    '\n',
  );
  const main = uris.find((uri) => uri.endsWith('/debian/'));
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

async function run(command: string, args: string[], cwd: string): Promise<string> {
  const { stdout } = await execFile(command, args, { cwd, timeout: PATIENCE_MS, maxBuffer: 1 << 26 });
  return stdout;
}
