// A reducer whose memory cannot have huge pages is one whose memory has small ones. What it has where they can be had: test/reducer.
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openHugePages } from './huge-pages.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-huge-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const madvise = file('madvise', 'always [madvise] never\n');
const cases = [
  {
    without: 'an addon',
    addonPath: '/nowhere.node',
    modePath: madvise,
    says: /^\/nowhere\.node .*npm run build:reducer-addon/,
  },
  {
    without: 'an addon of this machine',
    addonPath: file('other.node', 'text'),
    modePath: madvise,
    says: /other\.node/,
  },
  {
    without: 'huge pages in the kernel',
    addonPath: '/nowhere.node',
    modePath: '/nowhere',
    says: /^the kernel has none$/,
  },
  {
    without: 'a kernel that gives them',
    addonPath: '/nowhere.node',
    modePath: file('never', 'always madvise [never]\n'),
    says: /never/,
  },
];
for (const { without, says, ...paths } of cases) {
  test(`without ${without} it says so, and memory can be used as it is`, () => {
    const { missing, advise } = openHugePages(paths);
    assert.match(missing ?? '', says);
    const memory = new WebAssembly.Memory({ initial: 1 });
    advise(memory);
    assert.equal(memory.grow(1), 1);
  });
}
