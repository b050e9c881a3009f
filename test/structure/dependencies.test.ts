import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, readSources } from './sources.ts';

const PAGE = 'docs/decisions/dependencies.md';
const manifest: Record<
  'dependencies' | 'devDependencies' | 'optionalDependencies',
  Record<string, string>
> = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const runtime = Object.keys(manifest.dependencies);

test('every runtime dependency has its reason, and no reason outlives its dependency', () => {
  const reasons = [...readFileSync(join(ROOT, PAGE), 'utf8').matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(reasons.sort(), runtime.toSorted());
});

test('the host imports its runtime dependencies, all of them and no others', () => {
  const imported = new Set(
    readSources()
      .filter(({ path }) => path.startsWith('host/'))
      .flatMap(({ packages }) => packages)
      .filter((name) => !name.startsWith('node:')),
  );
  assert.deepEqual([...imported].sort(), runtime.toSorted());
});

test('the optimizer is the one that the compiler was made with', () => {
  const compiler = JSON.parse(readFileSync(join(ROOT, 'node_modules/assemblyscript/package.json'), 'utf8'));
  assert.equal(manifest.devDependencies.binaryen, compiler.dependencies.binaryen);
});

test('every version is exact', () => {
  const versions = Object.entries({
    ...manifest.dependencies,
    ...manifest.devDependencies,
    ...manifest.optionalDependencies,
  });
  assert.deepEqual(
    versions.filter(([, version]) => !/^\d+\.\d+\.\d+(-nightly\.\d+)?$/.test(version)),
    [],
  );
});
