import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prometheusName } from './generator/prometheus-name.ts';

// Names as the compatibility specification has them, and as OBI 0.10 documents its own.
for (const [name, unit, instrument, expected] of [
  ['tributary.flow.io', 'By', 'counter', 'tributary_flow_io_bytes_total'],
  ['tributary.flow.packet.count', '{packet}', 'counter', 'tributary_flow_packet_count_total'],
  ['tributary.flow.active', '{flow}', 'updowncounter', 'tributary_flow_active'],
  ['tributary.flow.match', '1', 'gauge', 'tributary_flow_match_ratio'],
  ['tributary.agent.blind.duration', 's', 'counter', 'tributary_agent_blind_duration_seconds_total'],
  ['obi.network.flow.bytes', 'By', 'counter', 'obi_network_flow_bytes_total'],
  ['obi.stat.tcp.rtt', 's', 'exponential_histogram', 'obi_stat_tcp_rtt_seconds'],
] as const)
  test(`a ${instrument} ${name} in ${unit} is ${expected}`, () =>
    assert.equal(prometheusName({ name, unit, instrument }), expected));

test('a unit without a word stops the generator', () => {
  assert.throws(
    () => prometheusName({ name: 'x', unit: 'furlong', instrument: 'gauge' }),
    /x: no word for the unit furlong/,
  );
});
