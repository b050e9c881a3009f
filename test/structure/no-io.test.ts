// Protocol, ledger and windows take events and the time, and return actions: that is what lets a seeded scheduler run a fleet. So
// whatever the simulation runs of the product may not reach the clock, chance, timers, sockets or files by itself.
import { strict as assert } from 'node:assert';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, readSource, readSources, type SourceFile } from './sources.ts';

const SIMULATION = 'test/simulation';
/** What the product does before a simulation begins: the clock is handed over, modules are read and compiled. */
const OUTSIDE = ['host/lib/clock.ts', 'host/lib/compile-module.ts', 'host/reducer/reducer-module.ts'];
/** Pure ones among Node's modules. */
const MODULES_ALLOWED = ['node:assert', 'node:buffer', 'node:zlib'];
const BANNED: Record<string, RegExp> = {
  'the clock': /\b(Date\.now|new Date|performance\.now|process\.hrtime)\b/,
  chance: /\bMath\.random\b|\bcrypto\b/,
  timers: /\b(setTimeout|setInterval|setImmediate)\b/,
  'the process': /\bprocess\.(argv|env|exit|hrtime|on|stdout|stderr)\b/,
};

/** The files of host/ that the simulation imports, and what these import. */
function listSimulated(): SourceFile[] {
  const sources = new Map(readSources().map((source) => [source.path, source]));
  const simulated = new Set<SourceFile>();
  const visit = (path: string): void => {
    const source = sources.get(path);
    if (source === undefined || simulated.has(source) || !path.startsWith('host/')) return;
    simulated.add(source);
    source.files.forEach(visit);
  };
  const simulation = readdirSync(join(ROOT, SIMULATION)).filter((file) => file.endsWith('.ts'));
  for (const file of simulation) readSource(join(SIMULATION, file)).files.forEach(visit);
  return [...simulated];
}

const files = listSimulated();
const inside = files.filter(({ path }) => !OUTSIDE.includes(path));

test('what the simulation runs imports no module that does input or output', () => {
  const found = inside.flatMap(({ path, packages }) =>
    packages
      .filter((name) => name.startsWith('node:') && !MODULES_ALLOWED.includes(name))
      .map((name) => `${path} imports ${name}`),
  );
  assert.deepEqual(found, []);
});

for (const [what, pattern] of Object.entries(BANNED)) {
  test(`what the simulation runs does not reach for ${what}`, () => {
    const found = inside.flatMap(({ path, code }) =>
      code.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
    );
    assert.deepEqual(found, []);
  });
}

test('the simulation runs both ends of the wire, the coordinator, the workers and the export queue', () => {
  const paths = files.map(({ path }) => path);
  const expected = [
    'host/agent/agent-core.ts',
    'host/wire/agent-channel.ts',
    'host/wire/reducer-channel.ts',
    'host/reducer/coordinator.ts',
    'host/reducer/worker-core.ts',
    'host/export/export-queue.ts',
  ];
  assert.deepEqual(
    expected.filter((path) => !paths.includes(path)),
    [],
  );
});
