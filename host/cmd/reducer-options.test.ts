import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultWorkers } from '../config/definition.ts';
import { type ReducerSettings, resolveReducerOptions } from './reducer-options.ts';

const SECOND_NS = 1_000_000_000n;
const API = { path: '/run/api.sock' };

function settings(
  reducer: Partial<ReducerSettings['reducer']>,
  others: Partial<ReducerSettings> = {},
): ReducerSettings {
  return {
    ...{ insecure: false, tls: {}, prometheus: { listen: undefined } },
    api: { address: API, tokenFile: undefined, ca: undefined },
    ...others,
    reducer: {
      ...{ listen: [{ host: '127.0.0.1', port: 4400 }], workers: undefined, level: ['az_az'], verifyNodeNames: false },
      seriesBudget: 100_000,
      ...{ window: 10n * SECOND_NS, lateness: 5n * SECOND_NS },
      ...reducer,
    },
  };
}

test('what nobody set is left out, and there is a worker for each processor', () => {
  assert.deepEqual(resolveReducerOptions(settings({})), {
    listen: [{ host: '127.0.0.1', port: 4400 }],
    api: API,
    workers: defaultWorkers(),
    windowNs: 10n * SECOND_NS,
    latenessNs: 5n * SECOND_NS,
    levels: ['az_az'],
    seriesBudget: 100_000,
    insecure: false,
  });
});

test('what does not go together is answered with the options and what would', () => {
  const free = { host: '127.0.0.1', port: 0 };
  const files = { ca: '/a', cert: '/b', key: '/c' };
  const cases: [ReducerSettings, string, RegExp][] = [
    [
      settings({ window: SECOND_NS, lateness: 31n * SECOND_NS }),
      'TRB_LATENESS',
      /reducer.lateness.*30.*reducer.window/,
    ],
    [settings({ listen: [API] }), 'TRB_LISTEN_TWICE', /reducer.listen and api.address are both unix:\/run\/api.sock/],
    [settings({ listen: [free, free, API] }), 'TRB_LISTEN_TWICE', /reducer.listen and api.address/],
    [settings({}, { tls: files, insecure: true }), 'TRB_TLS_INSECURE', /insecure.*tls/],
    [settings({}, { tls: { key: '/c' } }), 'TRB_TLS', /tls.ca and tls.cert are missing/],
  ];
  for (const [given, code, message] of cases) assert.throws(() => resolveReducerOptions(given), { code, message });
});

test('a port that is chosen for us may be asked for more than once', () => {
  const free = { host: '127.0.0.1', port: 0 };
  assert.deepEqual(resolveReducerOptions(settings({ listen: [free, free] })).listen, [free, free]);
});
