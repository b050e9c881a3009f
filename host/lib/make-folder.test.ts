import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeFolder } from './make-folder.ts';

function makeTemporary(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'make-folder-'));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('what is missing is made with its mode, and the outermost of it is returned', async (context) => {
  const root = makeTemporary(context);
  const path = join(root, 'a/b/c');
  assert.equal(await makeFolder(path, 0o700), join(root, 'a'));
  for (const folder of ['a', 'a/b', 'a/b/c']) assert.equal(statSync(join(root, folder)).mode & 0o777, 0o700);
  assert.equal(await makeFolder(path, 0o700), undefined);
  assert.equal(await makeFolder(`${path}/d/`, 0o700), `${path}/d/`);
});

test('several that make the same folder all have it', async (context) => {
  const path = join(makeTemporary(context), 'a/b');
  await Promise.all(Array.from({ length: 20 }, () => makeFolder(path, 0o700)));
  assert.ok(statSync(path).isDirectory());
});

test('a file in the way, and a file system that makes no folders, end it', async (context) => {
  const file = join(makeTemporary(context), 'file');
  writeFileSync(file, '');
  await assert.rejects(makeFolder(file, 0o700), { code: 'EEXIST' });
  await assert.rejects(makeFolder(join(file, 'a'), 0o700), { code: 'ENOTDIR' });
  await assert.rejects(makeFolder('/proc/none/a/b', 0o700), { code: 'ENOENT' });
});
