import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReducerFlags, type ReducerFlags } from './reducer-options.ts';

const FLAGS: ReducerFlags = {
  listen: ['127.0.0.1:4400', 'unix:/run/agents.sock'],
  api: 'unix:/run/api.sock',
  workers: '2',
  window: '10s',
  lateness: '500ms',
  level: ['az_az', 'role-role'],
  insecure: false,
};

test('a flag that is repeated counts each time', () => {
  assert.deepEqual(parseReducerFlags(FLAGS), {
    listen: [{ host: '127.0.0.1', port: 4400 }, { path: '/run/agents.sock' }],
    api: { path: '/run/api.sock' },
    workers: 2,
    windowNs: 10_000_000_000n,
    latenessNs: 500_000_000n,
    levels: ['az_az', 'role_role'],
    insecure: false,
  });
});

test('a wrong flag is answered with its name and what would be right', () => {
  const cases: [Partial<ReducerFlags>, string, RegExp][] = [
    [{ window: '500ms' }, 'TRB_OPTION', /--window: "500ms" is not a duration from 1s to 5m/],
    [{ lateness: '0s' }, 'TRB_OPTION', /--lateness: .*1ms to 5m/],
    [{ workers: '0' }, 'TRB_OPTION', /--workers: has to be at least 1/],
    [{ workers: '65' }, 'TRB_OPTION', /--workers: has to be at most 64/],
    [{ workers: '1.5' }, 'TRB_OPTION', /--workers: has to be whole/],
    [{ level: ['az_az', 'pod'] }, 'TRB_OPTION', /--level: "pod" is not one of id_id, id_az/],
    [{ api: 'nowhere' }, 'TRB_ADDRESS', /"nowhere" is not an address: HOST:PORT/],
    [{ listen: ['127.0.0.1:70000'] }, 'TRB_ADDRESS', /70000.*above 65535/],
  ];
  for (const [flags, code, message] of cases)
    assert.throws(() => parseReducerFlags({ ...FLAGS, ...flags }), { code, message }, JSON.stringify(flags));
});
