import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Command } from 'commander';
import { OPTIONS } from './definition.ts';
import { readEnvironment } from './environment.ts';
import { optionsOf, readFlags } from './flags.ts';
import { addConfiguration, type Loaded, loadConfiguration } from './load.ts';
import { ROLE_NAMES, type RoleName } from './option.ts';
import { printConfiguration } from './print.ts';
import { ConfigurationError } from './problem.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'tributary-load-'));
const SECOND_NS = 1_000_000_000n;
after(() => rmSync(FOLDER, { recursive: true }));

interface Sources {
  yaml?: string;
  environment?: Record<string, string>;
  flags?: string[];
  role?: RoleName;
}

/** As a role would load it. Without a text an empty file is read, so that the machine's own does not count. */
function load({ yaml = '', environment = {}, flags = [], role = 'agent' }: Sources): Loaded {
  const config = join(FOLDER, 'tributary.yaml');
  writeFileSync(config, yaml);
  const command = new Command().exitOverride();
  addConfiguration(command, role);
  command.parse(flags, { from: 'user' });
  return loadConfiguration(environment, { config, flags: readFlags(command, role) });
}

test('a flag goes before a variable, a variable before the file, the file before the default', () => {
  const yaml = 'agent:\n  window: 2s\n';
  const environment = { TRIBUTARY_AGENT_WINDOW: '3s' };
  const flags = ['--window', '4s'];
  const cases: [Sources, bigint, string][] = [
    [{}, 10n, 'default'],
    [{ yaml }, 2n, `${join(FOLDER, 'tributary.yaml')}:2:11`],
    [{ environment }, 3n, 'TRIBUTARY_AGENT_WINDOW'],
    [{ flags }, 4n, '--window'],
    [{ yaml, environment }, 3n, 'TRIBUTARY_AGENT_WINDOW'],
    [{ yaml, flags }, 4n, '--window'],
    [{ environment, flags }, 4n, '--window'],
    [{ yaml, environment, flags }, 4n, '--window'],
  ];
  for (const [sources, seconds, where] of cases) {
    const { values, settings } = load(sources);
    assert.equal(values.agent.window, seconds * SECOND_NS);
    assert.equal(settings.find(({ named }) => named.key === 'agent.window')?.where, where);
  }
});

test('a list is replaced as a whole, however it is written', () => {
  const yaml = 'reducer:\n  level: [id_id, az_id]\n';
  const environment = { TRIBUTARY_REDUCER_LEVEL: 'role-az, az_role' };
  const flags = ['--level', 'role_role', '--level', 'az_az'];
  const role = 'reducer';
  assert.deepEqual(load({ role, yaml }).values.reducer.level, ['id_id', 'az_id']);
  assert.deepEqual(load({ role, yaml, environment }).values.reducer.level, ['role_az', 'az_role']);
  assert.deepEqual(load({ role, yaml, environment, flags }).values.reducer.level, ['role_role', 'az_az']);
});

test('--no-zstd takes back what the file says', () => {
  const yaml = 'agent:\n  zstd: true\n';
  assert.equal(load({ yaml }).values.agent.zstd, true);
  assert.equal(load({ yaml, flags: ['--no-zstd'] }).values.agent.zstd, false);
  assert.equal(load({ flags: ['--zstd'] }).values.agent.zstd, true);
});

test('addresses of every form are the same in every source', () => {
  const cases: [string, unknown][] = [
    ['web1:4400', { host: 'web1', port: 4400 }],
    ['[2001:db8::1]:4400', { host: '2001:db8::1', port: 4400 }],
    [':4400', { host: '::', port: 4400 }],
    ['unix:/run/a.sock', { path: '/run/a.sock' }],
  ];
  for (const [text, address] of cases) {
    const sources: Sources[] = [
      { yaml: `agent:\n  reducer: "${text}"\n` },
      { environment: { TRIBUTARY_AGENT_REDUCER: text } },
      { flags: ['--reducer', text] },
    ];
    for (const each of sources) assert.deepEqual(load(each).values.agent.reducer, address, text);
  }
});

test('an empty variable counts as not set, and those of a Kubernetes Service are not ours', () => {
  const service = {
    TRIBUTARY_REDUCER_SERVICE_HOST: '10.0.0.1',
    TRIBUTARY_REDUCER_SERVICE_PORT: '4400',
    TRIBUTARY_REDUCER_SERVICE_PORT_AGENTS: '4400',
    TRIBUTARY_REDUCER_PORT: 'tcp://10.0.0.1:4400',
    TRIBUTARY_REDUCER_PORT_4400_TCP: 'tcp://10.0.0.1:4400',
    TRIBUTARY_REDUCER_PORT_4400_TCP_PROTO: 'tcp',
    TRIBUTARY_REDUCER_PORT_4400_TCP_PORT: '4400',
    TRIBUTARY_REDUCER_PORT_4400_TCP_ADDR: '10.0.0.1',
  };
  assert.deepEqual(readEnvironment({ ...service, TRIBUTARY_AGENT_WINDOW: '' }), { settings: [], problems: [] });
  assert.equal(readEnvironment({ TRIBUTARY_REDUCER_PORT: '4400' }).problems.length, 1);
  // Else a Service could hide an option.
  for (const { variable } of OPTIONS) assert.doesNotMatch(variable, /_PORT$|_SERVICE_|_PORT_\d/);
});

test('what is printed says the same when it is read again', () => {
  const environment = {
    TRIBUTARY_AGENT_REDUCER: '[::1]:4400',
    TRIBUTARY_AGENT_NODE: '12',
    TRIBUTARY_AGENT_ZONE: 'a: b # c',
    TRIBUTARY_REDUCER_LEVEL: 'az_az,id_id',
    TRIBUTARY_REDUCER_WORKERS: '3',
    TRIBUTARY_INSECURE: 'true',
    TRIBUTARY_REPLAY_SEED: '10',
  };
  const before = load({ environment });
  const text = printConfiguration(before.settings, undefined);
  assert.match(text, /workers: 3 # TRIBUTARY_REDUCER_WORKERS/);
  assert.match(text, /lateness: 5s # default/);
  assert.deepEqual(load({ yaml: text }).values, before.values);
});

test('a role prints what it reads and nothing else', () => {
  const text = printConfiguration(load({ environment: { TRIBUTARY_REDUCER_WORKERS: '3' } }).settings, 'agent');
  assert.match(text, /^agent:/m);
  assert.doesNotMatch(text, /reducer:|workers|prometheus/);
});

test('the same flag never means two options of a role, and no option is without a role', () => {
  for (const role of ROLE_NAMES) {
    const flags = optionsOf(role).map(({ flag }) => flag);
    assert.deepEqual(flags, [...new Set(flags)], role);
  }
  for (const { key, roles } of OPTIONS) assert.notEqual(roles.length, 0, key);
});

test('aliases of YAML are followed, and a bomb of them is refused', () => {
  assert.equal(load({ yaml: 'agent:\n  node: &name web1\n  zone: *name\n' }).values.agent.zone, 'web1');
  const lists = ['a', 'b', 'c', 'd', 'e'].map((name, index) =>
    index === 0 ? `  a: &a [${'x,'.repeat(9)}x]` : `  ${name}: &${name} [${Array(10).fill(`*${'abcde'[index - 1]}`)}]`,
  );
  assert.throws(() => load({ yaml: `tls:\n${lists.join('\n')}\n` }), ConfigurationError);
});

test('YAML that refers to itself or to nothing is answered like any other mistake', () => {
  const cases: [string, RegExp][] = [
    ['agent: &a {zone: *a}\n', /:1:18: agent.zone: <ref \*1> \{ zone: \[Circular \*1\] \} is not a name/],
    ['agent:\n  zone: *absent\n', /:2:9: Unresolved alias/],
    ['agent: *absent\n', /:1:8: Unresolved alias/],
    [': x\n', /:1:1: null: is no option$/],
    ['1: 2\n', /:1:1: 1: is no option$/],
  ];
  for (const [yaml, message] of cases) assert.throws(() => load({ yaml }), { code: 'TRB_CONFIG', message }, yaml);
});
