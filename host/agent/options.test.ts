import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type AgentSettings, resolveAgentOptions } from './options.ts';

const MAIN = join(import.meta.dirname, '../cmd/main.ts');

const DEFAULTS = {
  window: 10_000_000_000n,
  zone: '',
  drops: true,
  dns: true,
  dnsNames: false,
  udp: true,
  udpIdle: 60_000_000_000n,
  containerSocket: '/run/d.sock',
  containerdSocket: '/run/c.sock',
};

function settings(agent: Partial<AgentSettings['agent']>, others: Partial<AgentSettings> = {}): AgentSettings {
  return { insecure: false, tls: {}, ...others, agent: { ...DEFAULTS, ...agent } };
}

test('without a name an agent is called as its host', () => {
  assert.deepEqual(resolveAgentOptions(settings({ reducer: { path: '/run/r.sock' } })), {
    reducer: { address: { path: '/run/r.sock' }, insecure: false },
    windowNs: 10_000_000_000n,
    zstd: false,
    drops: true,
    dns: true,
    dnsNames: false,
    udp: true,
    udpIdle: 60_000_000_000n,
    containerSocket: '/run/d.sock',
    containerdSocket: '/run/c.sock',
    node: hostname(),
    zone: '',
  });
});

test('what is told to another host is compressed, unless that is not wanted', () => {
  const compresses = (host: string, zstd?: boolean): boolean =>
    resolveAgentOptions(settings({ reducer: { host, port: 4400 }, ...(zstd === undefined ? {} : { zstd }) })).zstd;
  assert.deepEqual([compresses('10.0.0.1'), compresses('fd00::1'), compresses('reducer.example')], [true, true, true]);
  assert.deepEqual([compresses('127.0.0.1'), compresses('::1')], [false, false]);
  assert.deepEqual([compresses('10.0.0.1', false), compresses('127.0.0.1', true)], [false, true]);
});

test('a scoped agent is named after its namespace', () => {
  const scope = { kind: 'netns', path: '/proc/self/ns/net' } as const;
  assert.deepEqual(
    resolveAgentOptions(
      settings({ output: '/tmp/a.zst', scope, zone: 'eu-1a', zstd: true, drops: false, dnsNames: true, udp: false }),
    ),
    {
      output: '/tmp/a.zst',
      scope: { ...scope, inode: statSync(scope.path).ino, level: 0 },
      windowNs: 10_000_000_000n,
      zstd: true,
      drops: false,
      dns: true,
      dnsNames: true,
      udp: false,
      udpIdle: 60_000_000_000n,
      containerSocket: '/run/d.sock',
      containerdSocket: '/run/c.sock',
      node: 'net',
      zone: 'eu-1a',
    },
  );
});

test('what does not go together is answered with what would', () => {
  const files = { ca: '/a', cert: '/b', key: '/c' };
  const reducer = { host: '192.0.2.1', port: 4400 };
  const rows: [AgentSettings, string, RegExp][] = [
    [settings({}), 'TRB_AGENT_OUTPUT', /--reducer HOST:PORT.*--output file:PATH/],
    [
      settings({ output: '/x', scope: { kind: 'netns', path: '/nowhere' } }),
      'TRB_AGENT_SCOPE',
      /--scope netns=\/nowhere: ENOENT/,
    ],
    [settings({ reducer }, { tls: files, insecure: true }), 'TRB_TLS_INSECURE', /insecure.*tls/],
    [settings({ reducer }, { tls: { ca: '/a', cert: '/b' } }), 'TRB_TLS', /tls.key is missing/],
  ];
  for (const [given, code, message] of rows) assert.throws(() => resolveAgentOptions(given), { code, message });
});

test('wrong usage ends with exit code 2 and one line that helps', () => {
  const rows: [string[], RegExp][] = [
    [[], /nowhere to tell/],
    [['--reducer', '192.0.2.1:4320'], /--insecure/],
    [['--window', 'soon', '--output', 'file:/tmp/x'], /--window: "soon" is not a duration from 100ms to 60m/],
    [['--no-such-flag'], /unknown option/],
  ];
  for (const [args, message] of rows) {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'agent', ...args], { encoding: 'utf8' });
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  }
});
