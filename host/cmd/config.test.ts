// `tributary config` as a process.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';

const MAIN = join(import.meta.dirname, 'main.ts');
const FOLDER = mkdtempSync(join(tmpdir(), 'tributary-config-'));
const TOKEN = 'a-token-that-nobody-may-see';
after(() => rmSync(FOLDER, { recursive: true }));

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

async function config(args: string[], environment: Record<string, string> = {}): Promise<Ended> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(TRIBUTARY|OTEL)_/.test(name));
  const child = spawn(process.execPath, [MAIN, 'config', ...args], {
    env: { ...Object.fromEntries(inherited), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: child.exitCode, out, err };
}

function write(name: string, content: string): string {
  const path = join(FOLDER, name);
  writeFileSync(path, content);
  return path;
}

test('check ends with 0 or 2; with a role it also finds what a start of that role would', async () => {
  const fine = write('fine.yaml', 'reducer:\n  workers: 2\n');
  const wrong = write('wrong.yaml', 'reducer:\n  wrokers: 2\n');
  const tls = write('tls.yaml', 'tls:\n  ca: /nowhere/ca.pem\n  cert: /nowhere/a.pem\n  key: /nowhere/b.pem\n');
  const remote = write('remote.yaml', 'reducer:\n  listen: ["0.0.0.0:4400"]\n');
  const scraped = write('scraped.yaml', 'prometheus:\n  listen: ":9464"\n');
  const cases: [string[], number, RegExp][] = [
    [['--config', fine], 0, /^$/],
    [['--config', fine, '--role', 'reducer'], 0, /^$/],
    [['--config', fine, '--role', 'agent'], 2, /nowhere to tell/],
    [['--config', wrong], 2, /reducer.wrokers: is no option; did you mean reducer.workers\?/],
    [['--config', tls], 0, /^$/],
    [['--config', tls, '--role', 'reducer'], 2, /tls.ca \/nowhere\/ca.pem: there is no such file/],
    [['--config', remote], 0, /^$/],
    [['--config', remote, '--role', 'reducer'], 2, /0.0.0.0:4400 is not on this host.*--insecure/],
    [['--config', scraped, '--role', 'reducer'], 2, /\[::\]:9464 is not on this host.*--insecure/],
    [
      ['--config', scraped, '--role', 'up'],
      2,
      /prometheus.listen: \[::\]:9464 is not on this host alone: use 127.0.0.1/,
    ],
    [['--config', fine, '--role', 'up'], 0, /^$/],
    [['--config', fine, '--role', 'reducr'], 2, /Allowed choices are agent, reducer/],
  ];
  for (const [args, code, message] of cases) {
    const ended = await config(['check', ...args]);
    assert.equal(ended.code, code, `${args}: ${ended.err}`);
    assert.match(ended.err.trim(), message);
    assert.equal(ended.out, code === 0 ? 'the configuration is fine\n' : '');
  }
});

test('print shows each value with its source, and names the file of a token without what is in it', async () => {
  const token = write('token', TOKEN);
  const file = write('print.yaml', `api:\n  address: 127.0.0.1:4401\n  token-file: ${token}\n`);
  const { code, out } = await config(['print', '--config', file, '--role', 'edges'], { TRIBUTARY_EDGES_BY: 'rtt' });
  assert.equal(code, 0);
  assert.deepEqual(out.trimEnd().split('\n'), [
    'insecure: false # default',
    'api:',
    `  address: 127.0.0.1:4401 # ${file}:2:12`,
    `  token-file: ${token} # ${file}:3:15`,
    'edges:',
    '  level: id_id # default',
    '  by: rtt # TRIBUTARY_EDGES_BY',
  ]);
  const again = await config(['print', '--config', write('again.yaml', out), '--role', 'edges']);
  assert.deepEqual(withoutComments(again.out), withoutComments(out));
  assert.equal(`${out}${again.out}`.includes(TOKEN), false);
});

test('schema prints one JSON document', async () => {
  const { code, out } = await config(['schema']);
  assert.equal(code, 0);
  assert.equal(JSON.parse(out).properties.agent.anyOf[0].properties.window.default, '10s');
});

function withoutComments(yaml: string): string {
  return yaml.replaceAll(/ #.*$/gm, '');
}
