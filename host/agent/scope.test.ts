import { strict as assert } from 'node:assert';
import { mkdirSync, mkdtempSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { resolveScope } from './scope.ts';

const skip =
  readlinkSync('/proc/self/ns/cgroup') === 'cgroup:[4026531835]'
    ? undefined
    : "runs outside of the host's cgroup namespace";

test('a control group is named by its folder or by its path, and has its distance from the root', {
  skip,
}, (context) => {
  const root = mkdtempSync(join(tmpdir(), 'cgroup-root-'));
  context.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'a.slice/b.service'), { recursive: true });
  const mounts = `35 24 0:30 / ${root} rw - cgroup2 cgroup2 rw\n`;
  const path = join(root, 'a.slice/b.service');
  const expected = { kind: 'cgroup', path, inode: statSync(path).ino, level: 2 };
  for (const named of [path, `${path}/`, '/a.slice/b.service', 'a.slice/b.service'])
    assert.deepEqual(resolveScope({ kind: 'cgroup', path: named }, mounts), expected, named);
  assert.equal(resolveScope({ kind: 'cgroup', path: '/' }, mounts).level, 0);
  assert.throws(() => resolveScope({ kind: 'cgroup', path: '/none' }, mounts), {
    code: 'TRB_AGENT_SCOPE',
    message: /--scope cgroup=\/none: ENOENT.*systemd-cgls/,
  });
  assert.throws(() => resolveScope({ kind: 'cgroup', path: '/a' }, '35 24 0:30 / / rw - ext4 /dev/sda rw\n'), {
    code: 'TRB_AGENT_SCOPE',
    message: /no v2 control groups/,
  });
});
