import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SELF_METRICS } from '../export/gen/metrics.ts';
import { addStageCounters } from '../reducer/stage-counters.ts';
import { noWireTotals } from '../reducer/wire-totals.ts';
import { ReducerCounter, RefusalReason } from '../wire/gen/records-layout.ts';
import { LossKind } from '../wire/gen/wire-layout.ts';
import { REFUSAL_EFFECT } from '../wire/refusal.ts';
import { readSelf } from './self-readings.ts';

/** Every counter is its own index, so that a reading tells where it comes from. */
function readIndexes(): ReturnType<typeof readSelf> {
  const counters = BigUint64Array.from({ length: ReducerCounter.End }, (_, index) => BigInt(index));
  const ofWire = Object.fromEntries(Object.keys(REFUSAL_EFFECT).map((reason) => [reason, 2]));
  const wire = { framesAccepted: 7, framesRepeated: 3, refused: ofWire };
  return readSelf(addStageCounters([counters]), wire, { complete: 5, late: 1 }, { az_az: 4 });
}

test('each refusal of a stage is read once, under its own reason', () => {
  const readings = readIndexes();
  for (const [name, reason] of Object.entries(RefusalReason).filter(([, value]) => value !== RefusalReason.None)) {
    const value = ReducerCounter.RefusedBy + reason;
    const found = readings.filter((reading) => reading.value === value && reading.attributes.reason !== undefined);
    const text = name.replaceAll(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
    assert.deepEqual(
      found
        .filter(({ metric }) => metric === 'frames' || metric === 'socketsRefused')
        .map((each) => each.attributes.reason),
      [text],
    );
  }
});

test('what every stage received, sent, lost and left out has a reading', () => {
  const read = (metric: string, attributes: object): number | undefined =>
    readIndexes().find(
      (reading) => reading.metric === metric && JSON.stringify(reading.attributes) === JSON.stringify(attributes),
    )?.value;
  assert.equal(read('frames', { reason: 'repeated' }), 3);
  assert.equal(read('frames', { reason: 'seq_gap' }), 2);
  assert.equal(read('records', { stage: 'ingest', reason: 'sent' }), ReducerCounter.RecordsToMatch);
  assert.equal(read('records', { stage: 'match', reason: 'received' }), ReducerCounter.RecordsMatched);
  assert.equal(read('records', { stage: 'match', reason: 'sent' }), ReducerCounter.EdgeFlows);
  assert.equal(read('records', { stage: 'aggregate', reason: 'received' }), ReducerCounter.EdgeFlowsAdded);
  assert.equal(read('eventsLost', { stage: 'kernel', reason: 'ring_full' }), ReducerCounter.AgentEventsLost);
  assert.equal(
    read('eventsLost', { stage: 'agent', reason: 'dns_query_limit' }),
    ReducerCounter.AgentLost + LossKind.DnsQueries,
  );
  assert.equal(read('eventsLost', { stage: 'match', reason: 'linger_evicted' }), ReducerCounter.FlowsEvicted);
  assert.equal(read('seriesOverflow', { stage: 'aggregate' }), ReducerCounter.EdgeFlowsToOther);
  assert.equal(read('seriesOverflow', { stage: 'budget' }), ReducerCounter.RowsToOther);
  assert.equal(read('agentBlind', {}), ReducerCounter.AgentBlindMs / 1000);
  assert.equal(read('windows', { reason: 'late' }), 1);
  assert.equal(read('series', { level: 'az_az' }), 4);
});

test('a reading has exactly the attributes that its metric declares, and none stands twice', () => {
  const readings = readIndexes();
  for (const { metric, attributes } of readings) {
    const declared: readonly string[] = SELF_METRICS[metric].attributes;
    assert.deepEqual(Object.keys(attributes).sort(), [...declared].sort(), metric);
  }
  const keys = readings.map(({ metric, attributes }) => `${metric} ${JSON.stringify(attributes)}`);
  assert.deepEqual(
    keys.filter((key, index) => keys.indexOf(key) !== index),
    [],
  );
});

test('a fresh reducer reads zero everywhere', () => {
  const readings = readSelf(addStageCounters([]), noWireTotals(), { complete: 0, late: 0 }, {});
  assert.ok(readings.length > 20 && readings.every(({ value }) => value === 0));
});
