import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { UsageError } from '../lib/usage-error.ts';
import { type AgentFlags, parseAgentOptions } from './options.ts';

const MAIN = join(import.meta.dirname, '../cmd/main.ts');

test('what is left out has its default', () => {
  assert.deepEqual(parseAgentOptions({ reducer: 'unix:/run/r.sock', window: '10s' }), {
    reducer: { address: { path: '/run/r.sock' }, insecure: false },
    windowNs: 10_000_000_000n,
    zstd: false,
    node: hostname(),
    zone: '',
  });
});

test('a scoped agent is named after its namespace', () => {
  const options = parseAgentOptions({
    output: 'file:/tmp/a.zst',
    scope: 'netns=/proc/self/ns/net',
    window: '500ms',
    zone: 'eu-1a',
    zstd: true,
  });
  assert.deepEqual(options, {
    output: '/tmp/a.zst',
    scope: { path: '/proc/self/ns/net', inode: statSync('/proc/self/ns/net').ino },
    windowNs: 500_000_000n,
    zstd: true,
    node: 'net',
    zone: 'eu-1a',
  });
});

test('a wrong flag is answered with what would be right', () => {
  const rows: [AgentFlags, string, RegExp][] = [
    [{ window: '10s' }, 'TRB_AGENT_OUTPUT', /--reducer HOST:PORT.*--output file:PATH/],
    [{ window: '10', output: 'file:/x' }, 'TRB_AGENT_OPTION', /--window 10: expected a duration/],
    [{ window: '50ms', output: 'file:/x' }, 'TRB_AGENT_OPTION', /from 100ms/],
    [{ window: '61m', output: 'file:/x' }, 'TRB_AGENT_OPTION', /to 60m/],
    [{ window: '10s', output: '/x' }, 'TRB_AGENT_OPTION', /--output \/x: expected file:PATH/],
    [{ window: '10s', output: 'file:/x', scope: '/run/netns/a' }, 'TRB_AGENT_OPTION', /--scope .* expected netns=PATH/],
    [
      { window: '10s', output: 'file:/x', scope: 'netns=/nowhere' },
      'TRB_AGENT_SCOPE',
      /--scope netns=\/nowhere: ENOENT/,
    ],
    [{ window: '10s', reducer: 'somewhere' }, 'TRB_ADDRESS', /HOST:PORT/],
    [{ window: '10s', output: 'file:/x', node: '' }, 'TRB_AGENT_OPTION', /--node .*expected a name/],
  ];
  for (const [flags, code, message] of rows) {
    assert.throws(
      () => parseAgentOptions(flags),
      (error) => error instanceof UsageError && error.code === code && message.test(error.message),
      JSON.stringify(flags),
    );
  }
});

test('wrong usage ends with exit code 2 and one line that helps', () => {
  const rows: [string[], RegExp][] = [
    [[], /nowhere to tell/],
    [['--reducer', '192.0.2.1:4320'], /--insecure/],
    [['--window', 'soon', '--output', 'file:/tmp/x'], /--window soon/],
    [['--no-such-flag'], /unknown option/],
  ];
  for (const [args, message] of rows) {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'agent', ...args], { encoding: 'utf8' });
    assert.equal(status, 2, stderr);
    assert.match(stderr, message);
  }
});
