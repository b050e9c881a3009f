// Dependencies run one way. On the host a part uses the parts before it in the data flow; in WebAssembly a stage hands records over
// by a call, so it knows the stages after it. A part that is not in the table may import the floor alone.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { partOf, readSources } from './sources.ts';

const MAY_IMPORT: Record<string, readonly string[] | 'everything'> = {
  'host/cmd': 'everything',
  'host/wire': ['host/tls'],
  'host/agent': ['host/tls', 'host/wire', 'bpf/addon'],
  'host/doctor': ['host/wire', 'bpf/addon'],
  'host/reducer': ['host/tls', 'host/wire'],
  'host/export': ['host/tls', 'host/wire', 'host/reducer'],
  'host/api': ['host/tls', 'host/wire', 'host/reducer', 'host/export'],
  'host/config': ['host/wire', 'host/agent', 'host/export', 'host/api'],
  'host/view': ['host/export', 'host/api'],
  'wasm/reducer': ['wasm/ingest', 'wasm/match', 'wasm/enrich', 'wasm/aggregate'],
  'wasm/ingest': ['wasm/match', 'wasm/enrich'],
  'wasm/match': ['wasm/enrich', 'wasm/aggregate'],
  'wasm/aggregate': ['wasm/enrich'],
  'schemas/generate.ts': ['schemas/generator', 'host/config'],
};

/** What everyone of an area may import. */
const FLOOR: Record<string, readonly string[]> = {
  host: ['host/lib', 'host/telemetry'],
  wasm: ['wasm/lib', 'wasm/gen'],
};
/** The floor itself: telemetry stands on lib, lib on nothing. */
const NO_FLOOR: Record<string, readonly string[]> = { 'host/lib': [], 'host/telemetry': ['host/lib'] };

function mayImport(from: string, to: string): boolean {
  if (from === to) return true;
  const allowed = MAY_IMPORT[from] ?? [];
  if (allowed === 'everything' || allowed.includes(to)) return true;
  return (NO_FLOOR[from] ?? FLOOR[from.split('/')[0]] ?? []).includes(to);
}

const sources = readSources();

test('no file imports against the direction of the data flow', () => {
  const violations = sources.flatMap(({ path, files }) =>
    files.filter((file) => !mayImport(partOf(path), partOf(file))).map((file) => `${path} imports ${file}`),
  );
  assert.deepEqual(violations, []);
});

test('the table of directions names parts that exist', () => {
  const parts = new Set(sources.map(({ path }) => partOf(path)));
  const named = Object.entries(MAY_IMPORT).flatMap(([from, to]) => (to === 'everything' ? [from] : [from, ...to]));
  assert.deepEqual(
    named.filter((part) => !parts.has(part)),
    [],
  );
});

test('the table itself has no cycle', () => {
  const reachable = (part: string, seen: Set<string>): Set<string> => {
    const next = MAY_IMPORT[part] ?? [];
    for (const to of next === 'everything' ? [] : next) if (!seen.has(to)) reachable(to, seen.add(to));
    return seen;
  };
  assert.deepEqual(
    Object.keys(MAY_IMPORT).filter((part) => reachable(part, new Set()).has(part)),
    [],
  );
});
