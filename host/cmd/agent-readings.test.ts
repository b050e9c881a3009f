import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Agent } from '../api/edge-answer.ts';
import { SELF_METRICS } from '../export/gen/metrics.ts';
import { readAgents, TOLD_AGENTS_MAX } from './agent-readings.ts';

const AGENT: Agent = {
  ...{ node: 'web-1', scope: '', zone: 'a', version: '1.2.3', session: '0', connected: true },
  ...{ lastWindow: 1, lagWindows: 0 },
  findings: [{ id: 'kernel', status: 'ok', value: '6.12.57' }],
  hooks: [
    { hook: 'totals', backend: 'iter/tcp' },
    { hook: 'live', backend: null, error: 'iter: EINVAL' },
  ],
};

test('an agent is one series, and each of its hooks another: 1 with a backend, 0 without', () => {
  const hooks = readAgents([AGENT]).filter(({ metric }) => metric === 'agentHook');
  assert.deepEqual(
    hooks.map(({ attributes, value }) => [attributes.agentHost, attributes.hook, attributes.backend, value]),
    [
      ['web-1', 'totals', 'iter/tcp', 1],
      ['web-1', 'live', 'none', 0],
    ],
  );
  const [info] = readAgents([AGENT]);
  assert.deepEqual([info.metric, info.value, info.attributes.osVersion], ['agentInfo', 1, '6.12.57']);
});

test('each reading has exactly the attributes that its metric declares', () => {
  for (const { metric, attributes } of readAgents([AGENT])) {
    const declared: readonly string[] = SELF_METRICS[metric].attributes;
    assert.deepEqual(Object.keys(attributes).sort(), [...declared].sort(), metric);
  }
});

test('of too many agents the first are told, and the number of the others', () => {
  const agents = Array.from({ length: TOLD_AGENTS_MAX + 3 }, (_, index) => ({ ...AGENT, node: `web-${index}` }));
  const readings = readAgents(agents);
  assert.equal(readings.filter(({ metric }) => metric === 'agentInfo').length, TOLD_AGENTS_MAX);
  assert.equal(readings.find(({ metric }) => metric === 'seriesOverflow')?.value, 3);
});
