import { strict as assert } from 'node:assert';
import { mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { LookNote } from './look-note.ts';

function makeFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'seen-'));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('an agent knows for how long nobody looked', (context) => {
  const folder = makeFolder(context);
  const note = new LookNote({ node: 'a' }, folder);
  assert.equal(note.blindMs(5_000), 0);
  note.touch(5_000);
  assert.equal(note.blindMs(7_500), 2_500);
  note.touch(8_000);
  assert.equal(new LookNote({ node: 'a' }, folder).blindMs(8_100), 100);
  assert.equal(new LookNote({ node: 'a', scope: { kind: 'netns', path: '/', inode: 1 } }, folder).blindMs(8_100), 0);
});

test('the note of a namespace is removed once its path leads to no namespace, or to another one', (context) => {
  const folder = makeFolder(context);
  // Any file has a path and a number, as the file of a namespace has.
  const scopes = ['stays', 'goes', 'changes'].map((name) => {
    const path = join(folder, name);
    writeFileSync(path, '');
    return { kind: 'netns' as const, path, inode: statSync(path).ino };
  });
  const touch = (look: ConstructorParameters<typeof LookNote>[0]): void => new LookNote(look, folder).touch(1_000);
  touch({ node: 'host' });
  for (const scope of scopes) touch({ node: 'a', scope });
  const [stays, goes, changes] = scopes;
  writeFileSync(join(folder, 'next'), '');
  renameSync(join(folder, 'next'), changes.path);
  rmSync(goes.path);
  touch({ node: 'host' });
  const notes = readdirSync(folder).filter((name) => name.endsWith('.seen'));
  assert.deepEqual(notes.sort(), ['agent.seen', `agent-netns:${stays.inode}-a.seen`].sort());
});

test('a note that nobody finishes is removed at a later start, and one that is being written stays', (context) => {
  const folder = makeFolder(context);
  const names = ['agent.seen.next', 'agent-netns:7-a.seen.next', 'agent-cgroup:9-b.seen.next', 'other.next'];
  for (const name of names) writeFileSync(join(folder, name), '');
  new LookNote({ node: 'a' }, folder);
  assert.deepEqual(readdirSync(folder).sort(), names.toSorted());
  context.mock.timers.enable({ apis: ['Date'], now: Date.now() + 3_600_000 });
  new LookNote({ node: 'a' }, folder);
  assert.deepEqual(readdirSync(folder), ['other.next']);
});

test('the own note stays although its path has gone', (context) => {
  const folder = makeFolder(context);
  new LookNote({ node: 'a', scope: { kind: 'netns', path: join(folder, 'gone'), inode: 7 } }, folder).touch(1_000);
  assert.equal(
    new LookNote({ node: 'a', scope: { kind: 'netns', path: '/', inode: 7 } }, folder).blindMs(3_000),
    2_000,
  );
});

test('the notes of living agents stay while others start', async (context) => {
  const folder = makeFolder(context);
  const path = join(folder, 'scope');
  writeFileSync(path, '');
  const scope = { kind: 'netns' as const, path, inode: statSync(path).ino };
  const starter = new Worker(
    `import { workerData } from 'node:worker_threads';
    import { LookNote } from ${JSON.stringify(import.meta.resolve('./look-note.ts'))};
    for (let count = 0; count < 2_000; count += 1) new LookNote({ node: 'starts' }, workerData);`,
    { eval: true, workerData: folder },
  );
  const ended = Promise.withResolvers<number>();
  starter.once('error', ended.reject).once('exit', ended.resolve);
  let isRunning = true;
  starter.once('exit', () => {
    isRunning = false;
  });
  context.after(() => starter.terminate());
  const note = new LookNote({ node: 'lives', scope }, folder);
  while (isRunning) {
    for (let count = 0; count < 10; count += 1) {
      note.touch(1_000);
      assert.equal(note.blindMs(3_000), 2_000);
    }
    await new Promise(setImmediate);
  }
  assert.equal(await ended.promise, 0);
});
