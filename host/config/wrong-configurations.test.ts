// The program with configurations that are wrong, each in its own way: it ends with 2 and one message that names the option and what would
// work, and never with a stack.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { TestAuthority } from '../tls/testing/test-credentials.ts';

const MAIN = join(import.meta.dirname, '../cmd/main.ts');
const TIMEOUT_MS = 240_000;
/** Starts of the program at a time. */
const STARTS_MAX = 3;
const NOBODY = 65_534;
const FOLDER = mkdtempSync(join(tmpdir(), 'tributary-wrong-'));

interface Wrong {
  args: string[];
  /** Text of the configuration file, which the arguments then need not name. */
  yaml?: string;
  environment?: Record<string, string>;
  uid?: number;
  /** What the message has to say, in this order: the option, then what would work. */
  says: RegExp;
}

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

const inFolder = (name: string): string => join(FOLDER, name);
const write = (name: string, text: string): string => {
  writeFileSync(inFolder(name), text);
  return inFolder(name);
};
let taken: Server;
let takenPort = 0;

before(async () => {
  chmodSync(FOLDER, 0o755);
  taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = taken.address();
  assert(address !== null && typeof address === 'object');
  takenPort = address.port;
  const authority = await TestAuthority.create();
  const good = await authority.issue();
  const other = await authority.issue();
  const expired = await authority.issue({ days: 1, issuedInDays: -2 });
  const early = await authority.issue({ issuedInDays: 2 });
  write('ca.pem', good.ca);
  write('good.pem', good.cert);
  write('good-key.pem', good.key);
  write('other-key.pem', other.key);
  write('expired.pem', expired.cert);
  write('expired-key.pem', expired.key);
  write('early.pem', early.cert);
  write('early-key.pem', early.key);
  write('text.pem', 'not a certificate');
  write('short-token', 'secret');
  chmodSync(write('private.yaml', 'agent: {}'), 0o600);
  chmodSync(write('private-key.pem', good.key), 0o600);
});

after(() => {
  taken.close();
  rmSync(FOLDER, { recursive: true });
});

const agent = ['agent', '--output', `file:${inFolder('agent.zst')}`];
const reducer = ['reducer', '--workers', '1', '--listen', `unix:${inFolder('agents.sock')}`, '--api'];
const reducerHere = [...reducer, `unix:${inFolder('api.sock')}`];
/** Where several starts would meet if they had the same sockets. */
const reducerOf = (name: string): string[] => [
  ...['reducer', '--workers', '1', '--listen', `unix:${inFolder(`${name}-agents.sock`)}`],
  ...['--api', `unix:${inFolder(`${name}-api.sock`)}`],
];
const tls = (cert: string, key: string, ca = 'ca.pem'): string[] => [
  ...['--tls-ca', inFolder(ca), '--tls-cert', inFolder(cert), '--tls-key', inFolder(key)],
];

const CASES: Record<string, () => Wrong> = {
  // Flags.
  'unknown flag': () => ({
    args: [...agent, '--reducr', 'a:1'],
    says: /^tributary: unknown option '--reducr' \(TRB_USAGE\)\s+\(Did you mean --reducer/,
  }),
  'flag without its value': () => ({ args: [...agent, '--window'], says: /--window <DURATION>' argument missing/ }),
  'argument that nobody reads': () => ({ args: [...agent, 'now'], says: /too many arguments.*agent/ }),
  'unknown role': () => ({
    args: ['reducr'],
    says: /^tributary: unknown command 'reducr' \(TRB_USAGE\)\s+\(Did you mean reducer/,
  }),
  'duration without unit': () => ({
    args: [...agent, '--window', '10'],
    says: /--window: "10" is not a duration.*such as 10s/,
  }),
  'duration below its range': () => ({
    args: [...agent, '--window', '99ms'],
    says: /--window: "99ms" .* from 100ms to 60m/,
  }),
  'duration above its range': () => ({
    args: [...reducerHere, '--window', '6m'],
    says: /--window: "6m" .* from 1s to 5m/,
  }),
  'negative duration': () => ({
    args: [...reducerHere, '--lateness=-1s'],
    says: /--lateness: "-1s" .* from 1ms to 5m/,
  }),
  'number that is none': () => ({
    args: [...reducerHere, '--workers', 'two'],
    says: /--workers: "two" is not a whole number from 1 to 64/,
  }),
  'number that is not whole': () => ({
    args: [...reducerHere, '--workers', '1.5'],
    says: /--workers: 1.5 is not a whole number/,
  }),
  'number below its range': () => ({ args: [...reducerHere, '--workers', '0'], says: /--workers: 0 .* from 1 to 64/ }),
  'number above its range': () => ({
    args: [...reducerHere, '--workers', '65'],
    says: /--workers: 65 .* from 1 to 64/,
  }),
  'level that does not exist': () => ({
    args: [...reducerHere, '--level', 'pod'],
    says: /--level: "pod" is not one of id_id, id_az/,
  }),
  'one bad entry of a list': () => ({
    args: [...reducerHere, '--level', 'az_az', '--level', 'az'],
    says: /--level: "az" is not one of/,
  }),
  'word that is no choice': () => ({ args: ['up', '--by', 'name'], says: /--by: "name" is not one of rate, bytes/ }),
  'address without port': () => ({
    args: ['agent', '--reducer', 'web1'],
    says: /--reducer: "web1" is not an address: HOST:PORT/,
  }),
  'port above 65535': () => ({ args: [...reducer, '127.0.0.1:70000'], says: /--api: port 70000 .* above 65535/ }),
  'IPv6 address without brackets': () => ({
    args: ['agent', '--reducer', '::1:4400'],
    says: /--reducer: "::1:4400" is not an address: .*\[IPV6\]:PORT/,
  }),
  'bad IPv6 address': () => ({
    args: ['agent', '--reducer', '[::g]:4400'],
    says: /--reducer: "::g" is not an IPv6 address/,
  }),
  'socket path that is too long': () => ({
    args: [...reducer, `unix:/${'x'.repeat(120)}`],
    says: /--api: the path .* more than 107 bytes/,
  }),
  'unix socket for a Prometheus': () => ({
    args: [...reducerHere, '--prometheus-listen', 'unix:/p.sock'],
    says: /--prometheus-listen: .* is not an address of TCP: HOST:PORT/,
  }),
  'output that is no file': () => ({
    args: ['agent', '--output', '/tmp/x'],
    says: /--output: "\/tmp\/x" is not file:PATH/,
  }),
  'scope without its form': () => ({ args: [...agent, '--scope', 'blue'], says: /--scope: "blue" is not netns=PATH/ }),
  'name that is too long': () => ({
    args: [...agent, '--node', 'n'.repeat(64)],
    says: /--node: .* is not a name of 1 to 63 characters/,
  }),
  'seed that is not hexadecimal': () => ({
    args: ['replay', 'sample', '--seed', 'xyz'],
    says: /--seed: "xyz" is not 1 to 16 hexadecimal digits/,
  }),
  'log level that does not exist': () => ({
    args: [...agent, '--log-level', 'loud'],
    says: /--log-level: "loud" is not one of trace, debug/,
  }),

  // Variables.
  'unknown variable': () => ({
    args: agent,
    environment: { TRIBUTARY_AGENT_WINDWO: '10s' },
    says: /TRIBUTARY_AGENT_WINDWO: .*did you mean TRIBUTARY_AGENT_WINDOW\?/,
  }),
  'variable with a bad value': () => ({
    args: agent,
    environment: { TRIBUTARY_AGENT_ZSTD: 'ja' },
    says: /TRIBUTARY_AGENT_ZSTD: "ja" is not true or false/,
  }),
  'variable of another role with a bad value': () => ({
    args: agent,
    environment: { TRIBUTARY_REDUCER_WORKERS: '-1' },
    says: /TRIBUTARY_REDUCER_WORKERS: -1 is not a whole number/,
  }),
  'variable with one bad entry': () => ({
    args: reducerHere,
    environment: { TRIBUTARY_REDUCER_LEVEL: 'az_az,pod' },
    says: /TRIBUTARY_REDUCER_LEVEL: "pod" is not one of/,
  }),
  'variable that names no file': () => ({
    args: agent,
    environment: { TRIBUTARY_CONFIG: '/nowhere.yaml' },
    says: /TRIBUTARY_CONFIG \/nowhere.yaml: there is no such file/,
  }),
  'OTLP endpoint that is no URL': () => ({
    args: reducerHere,
    environment: { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
    says: /OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318: use a URL such as/,
  }),
  'OTLP protocol that is not spoken': () => ({
    args: reducerHere,
    environment: { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    says: /OTEL_EXPORTER_OTLP_PROTOCOL=grpc: only http\/protobuf/,
  }),
  'OTLP header without its value': () => ({
    args: reducerHere,
    environment: { OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=1,authorization' },
    says: /OTEL_EXPORTER_OTLP_HEADERS: entry 2 is no header: use NAME=VALUE/,
  }),

  // The file.
  'file that is not there': () => ({
    args: [...agent, '--config', '/nowhere.yaml'],
    says: /--config \/nowhere.yaml: there is no such file/,
  }),
  'file that is a folder': () => ({
    args: [...agent, '--config', FOLDER],
    says: /--config .*: is a folder, not a file/,
  }),
  'file that this user may not read': () => ({
    args: [...agent, '--config', inFolder('private.yaml')],
    uid: NOBODY,
    says: /--config .*private.yaml: this user may not read it/,
  }),
  'text that is not YAML': () => ({ args: agent, yaml: 'agent: [1, 2', says: /yaml:1:13: is not YAML: / }),
  'key that is given twice': () => ({
    args: agent,
    yaml: 'agent:\n  zone: a\n  zone: b\n',
    says: /yaml:3:3: is not YAML: .*unique/,
  }),
  'a file of two documents': () => ({
    args: agent,
    yaml: 'agent: {}\n---\nlog: {}\n',
    says: /yaml:2:1: .*second document.* ---/,
  }),
  'a file without an end': () => ({
    args: [...agent, '--config', '/dev/zero'],
    says: /\/dev\/zero: has more than 1048576 bytes/,
  }),
  'indentation by tabs': () => ({ args: agent, yaml: 'agent:\n\tzone: a\n', says: /yaml:2:1: is not YAML: .*[Tt]ab/ }),
  'file without sections': () => ({ args: agent, yaml: '- agent\n', says: /yaml:1:1: has to hold sections: tls, api/ }),
  'unknown section': () => ({
    args: agent,
    yaml: 'agnet:\n  zone: a\n',
    says: /yaml:1:1: agnet: is no option; did you mean agent\?/,
  }),
  'unknown key': () => ({
    args: agent,
    yaml: 'tls:\n  crt: /x.pem\n',
    says: /yaml:2:3: tls.crt: is no option; did you mean tls.cert\?/,
  }),
  'section that is a value': () => ({ args: agent, yaml: 'tls: true\n', says: /yaml:1:1: tls: true is not a section/ }),
  'key without a value': () => ({
    args: agent,
    yaml: 'agent:\n  window:\n',
    says: /yaml:2:3: agent.window: has no value; .* a duration from/,
  }),
  'number in place of a duration': () => ({
    args: agent,
    yaml: 'agent:\n  window: 10\n',
    says: /yaml:2:11: agent.window: 10 is not a duration/,
  }),
  'number in place of a name': () => ({
    args: agent,
    yaml: 'agent:\n  node: 12\n',
    says: /yaml:2:9: agent.node: 12 .*"12" needs its quotes/,
  }),
  'text in place of a boolean': () => ({
    args: agent,
    yaml: 'agent:\n  zstd: yes\n',
    says: /yaml:2:9: agent.zstd: "yes" is not true or false/,
  }),
  'text in place of a list': () => ({
    args: agent,
    yaml: 'reducer:\n  listen: 127.0.0.1:4400\n',
    says: /yaml:2:11: reducer.listen: .* is not a list such as \[A, B\]/,
  }),
  'list in place of a text': () => ({
    args: agent,
    yaml: 'agent:\n  zone: [a]\n',
    says: /yaml:2:9: agent.zone: \[ 'a' \] is not a name/,
  }),
  'empty list': () => ({
    args: agent,
    yaml: 'reducer:\n  level: []\n',
    says: /yaml:2:10: reducer.level: \[\] is not a list/,
  }),

  // What does not go together.
  'agent that tells nobody': () => ({ args: ['agent'], says: /--reducer HOST:PORT.*--output file:PATH/ }),
  'compression of nothing': () => ({ args: [...agent, '--zstd'], says: /--zstd: has no effect without --reducer/ }),
  'names of lookups that are not timed': () => ({
    args: [...agent, '--no-dns', '--dns-names'],
    says: /--dns-names: has no effect without --dns/,
  }),
  'pause of flows that are not followed': () => ({
    args: [...agent, '--no-udp', '--udp-idle', '30s'],
    says: /--udp-idle: has no effect without --udp/,
  }),
  'plaintext to nobody': () => ({
    args: [...agent, '--insecure'],
    says: /--insecure: has no effect without --reducer/,
  }),
  'plaintext and TLS': () => ({
    args: [...reducerHere, '--insecure', ...tls('good.pem', 'good-key.pem')],
    says: /insecure asks for plaintext and tls.*leave one out/,
  }),
  'certificate without its key': () => ({
    args: [...reducerHere, '--tls-ca', inFolder('ca.pem'), '--tls-cert', inFolder('good.pem')],
    says: /tls.ca, tls.cert and tls.key belong together: tls.key is missing/,
  }),
  'plaintext to another host': () => ({
    args: ['agent', '--reducer', '192.0.2.1:4400'],
    says: /192.0.2.1:4400 is not on this host.*--insecure/,
  }),
  'plaintext listener for other hosts': () => ({
    args: [...reducer, '0.0.0.0:0'],
    says: /api.address: 0.0.0.0:0 is not on this host.*--insecure/,
  }),
  'lateness of many windows': () => ({
    args: [...reducerHere, '--window', '1s', '--lateness', '1m'],
    says: /reducer.lateness .*reducer.window: make it shorter/,
  }),
  'one address twice': () => ({
    args: [...reducer, `unix:${inFolder('agents.sock')}`],
    says: /reducer.listen and api.address are both .*: give each its own/,
  }),
  'token for a socket': () => ({
    args: [...reducerHere, '--api-token-file', '/t'],
    says: /--api-token-file: has no effect with a unix socket: give --api HOST:PORT/,
  }),
  'workers of a running reducer': () => ({
    args: ['replay', 'sample', '--reducer', '127.0.0.1:1', '--workers', '2'],
    says: /--workers: has no effect with --reducer/,
  }),
  'all levels as a table': () => ({
    args: ['replay', 'sample', '--level', 'all'],
    says: /--level all goes with --json/,
  }),

  // What the machine does not give.
  'namespace that does not exist': () => ({
    args: [...agent, '--scope', 'netns=/nowhere'],
    says: /--scope netns=\/nowhere: ENOENT.*ip netns list/,
  }),
  'control group that does not exist': () => ({
    args: [...agent, '--scope', 'cgroup=/nowhere'],
    says: /--scope cgroup=\/nowhere: (ENOENT.*systemd-cgls|this host has no v2|run the agent in the host's)/,
  }),
  'certificate that is not there': () => ({
    args: [...reducerHere, ...tls('absent.pem', 'good-key.pem')],
    says: /tls.cert .*absent.pem: there is no such file/,
  }),
  'certificate that is none': () => ({
    args: [...reducerHere, ...tls('text.pem', 'good-key.pem')],
    says: /tls.cert .*text.pem: holds no certificate in PEM form/,
  }),
  'authority that is none': () => ({
    args: [...reducerHere, ...tls('good.pem', 'good-key.pem', 'good.pem')],
    says: /tls.ca .*good.pem: .* is not the certificate of an authority/,
  }),
  'key of another certificate': () => ({
    args: [...reducerHere, ...tls('good.pem', 'other-key.pem')],
    says: /tls.key .*other-key.pem: is not the key of the certificate/,
  }),
  'certificate that has expired': () => ({
    args: [...reducerHere, ...tls('expired.pem', 'expired-key.pem')],
    says: /tls.cert .*expired.pem: expired on .*certs issue/,
  }),
  'certificate of the future': () => ({
    args: [...reducerHere, ...tls('early.pem', 'early-key.pem')],
    says: /tls.cert .*early.pem: is valid from/,
  }),
  'key that this user may not read': () => ({
    args: [...reducerHere, ...tls('good.pem', 'private-key.pem')],
    uid: NOBODY,
    says: /tls.key .*private-key.pem: this user may not read it/,
  }),
  'token that is not there': () => ({
    args: [...reducer, '127.0.0.1:0', '--api-token-file', '/nowhere'],
    says: /cannot read the token in \/nowhere/,
  }),
  'token that is too short': () => ({
    args: [...reducer, '127.0.0.1:0', '--api-token-file', inFolder('short-token')],
    says: /short-token has to hold one word of at least 16/,
  }),
  'port that is taken': () => ({
    args: ['reducer', '--api', `unix:${inFolder('taken-api.sock')}`, '--listen', `127.0.0.1:${takenPort}`],
    says: /reducer.listen: 127.0.0.1:\d+ is in use: .*choose another address/,
  }),
  'port of a Prometheus that is taken': () => ({
    args: [...reducerOf('prometheus'), '--prometheus-listen', `127.0.0.1:${takenPort}`],
    says: /prometheus.listen: 127.0.0.1:\d+ is in use/,
  }),
  'port that needs privileges': () => ({
    args: [...reducer, '127.0.0.1:80', '--api-token-file', write('token', 't'.repeat(32))],
    uid: NOBODY,
    says: /api.address: .*127.0.0.1:80: this user may not use that port; take one above 1023/,
  }),
  'folder that this user may not write to': () => ({
    args: reducerOf('nobody'),
    uid: NOBODY,
    says: /api.address: .*nobody-api.sock: this user may not write to that folder/,
  }),
  'address of another host': () => ({
    args: [...reducer, '192.0.2.1:80', '--insecure', '--api-token-file', write('token', 't'.repeat(32))],
    says: /api.address: .*no interface of this host has that address/,
  }),
  'recording that is not there': () => ({ args: ['replay', '/nowhere.zst'], says: /\/nowhere.zst.* does not exist/ }),
};

/** What the environment of the test itself says of Tributary or OpenTelemetry must not count. */
function environmentOf(given: Record<string, string> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(TRIBUTARY|OTEL)_/.test(name));
  return { ...Object.fromEntries(inherited), ...given };
}

async function start({ args, environment, uid }: Omit<Wrong, 'says'>): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: environmentOf(environment),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const ended: Ended = { code: null, out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ended.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.err += text;
  });
  await once(child, 'close');
  return { ...ended, code: child.exitCode };
}

function assertRefused(name: string, { code, out, err }: Ended, says: RegExp): void {
  assert.match(err, says, name);
  assert.equal(code, 2, `${name}: ${err}`);
  assert.equal(out, '', name);
  assert.equal(err.match(/^(tributary|error): /gm)?.length, 1, `${name}, one message: ${err}`);
  assert.doesNotMatch(err, /^\s+at .*:\d+|node:internal|problems:/m, name);
}

test('a wrong configuration is answered with one message and exit code 2', {
  timeout: 4 * TIMEOUT_MS,
}, async (context) => {
  assert(Object.keys(CASES).length >= 40);
  const rest = Object.entries(CASES);
  const runNext = async (): Promise<void> => {
    for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
      const [name, make] = next;
      const { says, yaml, ...wrong } = make();
      if (wrong.uid !== undefined && process.getuid?.() !== 0) {
        context.diagnostic(`not tried without root: ${name}`);
        continue;
      }
      const file = yaml === undefined ? [] : ['--config', write(`${name.replaceAll(' ', '-')}.yaml`, yaml)];
      assertRefused(name, await start({ ...wrong, args: [...wrong.args, ...file] }), says);
    }
  };
  await Promise.all(Array.from({ length: STARTS_MAX }, runNext));
});

test('several mistakes are told at once, those of the file first and in its order', {
  timeout: TIMEOUT_MS,
}, async () => {
  const file = write('several.yaml', 'agent:\n  widow: 1s\n  zstd: 1\nreducer:\n  workers: 0\n  lateness: soon\n');
  const { code, err } = await start({
    args: ['agent', '--config', file, '--window', 'x'],
    environment: { TRIBUTARY_TSL_CA: '/x', TRIBUTARY_LOG_LEVEL: 'loud' },
  });
  assert.equal(code, 2);
  const [head, ...lines] = err.trim().split('\n');
  assert.equal(head, 'tributary: 7 problems:');
  const places = lines.slice(0, 7).map((line) => /^ {2}(.*?): (?!agent|reducer)/.exec(line)?.[1]);
  assert.deepEqual(places, [
    `${file}:2:3: agent.widow`,
    `${file}:3:9: agent.zstd`,
    `${file}:5:12: reducer.workers`,
    `${file}:6:13: reducer.lateness`,
    'TRIBUTARY_TSL_CA',
    'TRIBUTARY_LOG_LEVEL',
    '--window',
  ]);
});
