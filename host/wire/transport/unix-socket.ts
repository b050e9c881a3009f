/**
 * Unix sockets that only root and one group may open. bind(2) makes the file with what the umask leaves, and a thread has no umask of its
 * own: so the socket is bound in a folder that only this user may enter, and gets its mode and group there before it is moved into place.
 */
import { chmod, chown, lstat, mkdtemp, readFile, rename, rm, unlink } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { UsageError } from '../../lib/usage-error.ts';
import { SOCKET_PATH_BYTES_MAX } from './address.ts';
import { inUse, listenError } from './listen-error.ts';

/** Its members may use the API and tell a reducer through its unix socket. */
const GROUP = 'tributary';
const GROUP_FILE = '/etc/group';
const SOCKET_MODE = 0o660;

/** `listen` binds at the path that it is given. Throws UsageError when somebody answers at `path`, or when there is a file of another kind. */
export async function placeSocket(path: string, listen: (path: string) => Promise<void>): Promise<void> {
  await removeStaleSocket(path);
  const folder = await mkdtemp(join(dirname(path), '.s')).catch((error: NodeJS.ErrnoException) => {
    throw listenError({ path }, error);
  });
  const hidden = join(folder, 's');
  try {
    if (Buffer.byteLength(hidden) > SOCKET_PATH_BYTES_MAX)
      throw new UsageError('TRB_LISTEN', `unix:${path}: the name of its folder is too long for a socket`);
    await listen(hidden);
    await chmod(hidden, SOCKET_MODE);
    await giveToGroup(hidden);
    await rename(hidden, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Where a socket was placed. Node removes the file that it bound, and knows nothing of the move. */
export async function removeSocket(path: string): Promise<void> {
  await unlink(path).catch(() => undefined);
}

/** Hands a file to the group `tributary`, if this machine has one and this user may. */
export async function giveToGroup(path: string, groupFile = GROUP_FILE): Promise<void> {
  const groupId = await readGroupId(groupFile);
  if (groupId === undefined || process.getuid === undefined) return;
  await chown(path, process.getuid(), groupId).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPERM') throw error;
  });
}

/** From the local file: a system group is there (docs/operating.md). */
async function readGroupId(groupFile: string): Promise<number | undefined> {
  const groups = await readFile(groupFile, 'utf8').catch(() => '');
  const id = new RegExp(`^${GROUP}:[^:]*:(\\d+):`, 'm').exec(groups)?.[1];
  return id === undefined ? undefined : Number(id);
}

async function removeStaleSocket(path: string): Promise<void> {
  const status = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw listenError({ path }, error);
  });
  if (status === undefined) return;
  if (!status.isSocket()) throw new UsageError('TRB_LISTEN', `${path} exists and is not a socket: choose another path`);
  if (await isAnswered(path)) throw inUse({ path });
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    throw listenError({ path }, error);
  });
}

/** True also for somebody who is too busy to answer. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection({ path }, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
  });
}
