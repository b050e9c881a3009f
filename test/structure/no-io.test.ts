// Protocol, ledger and windows take events and the time, and return actions: that is what lets a seeded scheduler run a fleet. These
// files may not reach the clock, chance, timers, sockets or files by themselves.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { readSources } from './sources.ts';

const SANS_IO = [
  /^host\/wire\/(?!recording|transport\/)[^/]+\.ts$/,
  /^host\/agent\/agent-core\.ts$/,
  /^host\/reducer\/(coordinator|worker-core)\.ts$/,
  /^host\/export\/(export-queue|edge-rows)\.ts$/,
];
/** Pure ones among Node's modules. */
const MODULES_ALLOWED = ['node:assert', 'node:buffer', 'node:zlib'];
const BANNED: Record<string, RegExp> = {
  'the clock': /\b(Date\.now|new Date|performance\.now|process\.hrtime)\b/,
  chance: /\bMath\.random\b|\bcrypto\b/,
  timers: /\b(setTimeout|setInterval|setImmediate|queueMicrotask)\b/,
  'the process': /\bprocess\.(argv|env|exit|hrtime|on|stdout|stderr)\b/,
};

const files = readSources().filter(({ path }) => SANS_IO.some((pattern) => pattern.test(path)));

test('protocol code imports no module that does input or output', () => {
  const found = files.flatMap(({ path, packages }) =>
    packages
      .filter((name) => name.startsWith('node:') && !MODULES_ALLOWED.includes(name))
      .map((name) => `${path} imports ${name}`),
  );
  assert.deepEqual(found, []);
});

for (const [what, pattern] of Object.entries(BANNED)) {
  test(`protocol code does not reach for ${what}`, () => {
    const found = files.flatMap(({ path, code }) =>
      code.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
    );
    assert.deepEqual(found, []);
  });
}

test('each rule about input and output finds the files that it is for', () => {
  const empty = SANS_IO.filter((pattern) => !files.some(({ path }) => pattern.test(path)));
  assert.deepEqual(empty, []);
});
