// mkdir -p. Node's own `recursive` tries for ever where a file system, /proc for one, says ENOENT of a folder whose parent is there.
import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/** Returns the outermost folder that was made, undefined when all were there. Throws what mkdir(2) says. `mode`: of those that are made. */
export async function makeFolder(path: string, mode: number): Promise<string | undefined> {
  try {
    return await makeOne(path, mode);
  } catch (error) {
    const parent = dirname(resolve(path));
    if (codeOf(error) !== 'ENOENT' || parent === resolve(path)) throw error;
    const outermost = await makeFolder(parent, mode);
    const made = await makeOne(path, mode);
    return outermost ?? made;
  }
}

async function makeOne(path: string, mode: number): Promise<string | undefined> {
  try {
    await mkdir(path, { mode });
    return path;
  } catch (error) {
    if (codeOf(error) === 'EEXIST' && (await stat(path)).isDirectory()) return undefined;
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
