import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METRICS, SELF_METRICS } from './gen/metrics.ts';
import { withUnit } from './prometheus-names.ts';

// The compatibility specification: units in words, annotations in braces left out, nothing twice.
for (const [name, unit, expected] of [
  ['tributary.flow.io', 'By', 'tributary.flow.io.bytes'],
  ['tributary.tcp.rtt.duration', 's', 'tributary.tcp.rtt.duration.seconds'],
  ['tributary.flow.packet.count', '{packet}', 'tributary.flow.packet.count'],
  ['obi.network.flow.bytes', 'By', 'obi.network.flow.bytes'],
  ['tributary.flow.match', '1', 'tributary.flow.match.ratio'],
] as const)
  test(`${name} in ${unit} is ${expected}`, () => assert.equal(withUnit(name, unit), expected));

test('every unit in use has a word', () => {
  for (const { unit } of [...Object.values(METRICS), ...Object.values(SELF_METRICS)]) withUnit('x', unit);
  assert.throws(() => withUnit('x', 'furlong'), /furlong/);
});
