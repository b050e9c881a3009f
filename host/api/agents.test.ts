import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FindingStatus } from '../wire/gen/wire-layout.ts';
import { hello } from '../wire/testing/hello.ts';
import { listAgents } from './agents.ts';

test('agents stand by node and scope, each with how far it has told', () => {
  const sessions = [
    { hello: hello({ nodeName: 'web-2' }), isConnected: true, toldWindow: 9, listeners: [], listenersOmitted: 0 },
    {
      hello: hello({ nodeName: 'web-1', scope: 'netns:7' }),
      isConnected: false,
      toldWindow: 4,
      listeners: [],
      listenersOmitted: 0,
    },
    { hello: hello({ nodeName: 'web-1' }), isConnected: true, toldWindow: 0, listeners: [], listenersOmitted: 0 },
    // Its clock is ahead of the reducer's.
    { hello: hello({ nodeName: 'web-3' }), isConnected: true, toldWindow: 11, listeners: [], listenersOmitted: 0 },
  ];
  const told = listAgents(sessions, 10).map((agent) => [agent.node, agent.scope, agent.lastWindow, agent.lagWindows]);
  assert.deepEqual(told, [
    ['web-1', '', null, null],
    ['web-1', 'netns:7', 4, 5],
    ['web-2', '', 9, 0],
    ['web-3', '', 11, 0],
  ]);
});

test('a hook that nothing serves has no backend and says why; an agent that tells no facts has none', () => {
  const findings = [{ id: 'clock_source', status: FindingStatus.Limited, text: 'hpet' }];
  const hooks = [
    { name: 'totals', backend: 'iter/tcp', error: '' },
    { name: 'live', backend: '', error: 'iter: EINVAL' },
  ];
  const [full] = listAgents(
    [{ hello: hello({ findings, hooks }), isConnected: true, toldWindow: 1, listeners: [], listenersOmitted: 0 }],
    2,
  );
  assert.deepEqual(full.findings, [{ id: 'clock_source', status: 'limited', value: 'hpet' }]);
  assert.deepEqual(full.hooks, [
    { hook: 'totals', backend: 'iter/tcp' },
    { hook: 'live', backend: null, error: 'iter: EINVAL' },
  ]);
  const [bare] = listAgents(
    [{ hello: hello(), isConnected: true, toldWindow: 1, listeners: [], listenersOmitted: 0 }],
    2,
  );
  assert.deepEqual([bare.findings, bare.hooks], [[], []]);
});
