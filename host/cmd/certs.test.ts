// `tributary certs` as a process; openssl is the judge of what it makes.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';

const MAIN = join(import.meta.dirname, 'main.ts');
const run = promisify(execFile);

function temporaryFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-certs-'));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

async function certs(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [MAIN, 'certs', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += String(chunk);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += String(chunk);
  });
  await once(child, 'close');
  return { code: child.exitCode, out, err };
}

async function openssl(...args: string[]): Promise<string> {
  return (await run('openssl', args)).stdout;
}

test('OpenSSL verifies what init and issue make, for what it was issued, and reads the names in it', async (context) => {
  const dir = join(temporaryFolder(context), 'authority');
  const made = await certs('init', '--dir', dir);
  assert.equal(made.code, 0, made.err);
  assert.match(made.out, /ca-key\.pem {2}stays here.*\nnext: tributary certs issue --dir/);
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  assert.equal(statSync(join(dir, 'ca-key.pem')).mode & 0o777, 0o600);
  const issued = await certs(
    'issue',
    '--dir',
    dir,
    '--name',
    'reducer.example',
    '--san',
    '10.0.0.7',
    '--san',
    'fd00::7',
  );
  assert.equal(issued.code, 0, issued.err);
  assert.match(
    issued.out,
    /--tls-ca ca\.pem --tls-cert \S+reducer\.example\.pem --tls-key \S+reducer\.example-key\.pem/,
  );
  assert.equal((await certs('issue', '--dir', dir, '--name', '10.0.0.8', '--client')).code, 0);
  const [ca, reducer, agent] = ['ca', 'reducer.example', '10.0.0.8'].map((name) => join(dir, `${name}.pem`));
  const verify = ['verify', '-x509_strict', '-CAfile', ca];
  await openssl(...verify, '-purpose', 'sslserver', '-verify_hostname', 'reducer.example', reducer);
  await openssl(...verify, '-purpose', 'sslclient', '-verify_ip', '10.0.0.7', reducer);
  await openssl(...verify, '-purpose', 'sslclient', '-verify_ip', '10.0.0.8', agent);
  await assert.rejects(openssl(...verify, '-purpose', 'sslserver', agent), /unsuitable certificate purpose/);
  await assert.rejects(openssl(...verify, '-verify_hostname', 'other.example', reducer), /hostname mismatch/);
  const text = await openssl('x509', '-in', reducer, '-noout', '-text');
  assert.match(text, /DNS:reducer\.example, IP Address:10\.0\.0\.7, IP Address:FD00:0:0:0:0:0:0:7/);
  assert.match(text, /CA:FALSE/);
  assert.match(await openssl('x509', '-in', ca, '-noout', '-text'), /CA:TRUE, pathlen:0/);
  const key = join(dir, 'reducer.example-key.pem');
  assert.equal(statSync(key).mode & 0o777, 0o600);
  assert.equal(
    await openssl('pkey', '-in', key, '-pubout'),
    await openssl('x509', '-in', reducer, '-noout', '-pubkey'),
    'the key belongs to the certificate',
  );
});

test('a certificate ends with its authority at the latest', async (context) => {
  const dir = temporaryFolder(context);
  await certs('init', '--dir', dir, '--days', '10');
  await certs('issue', '--dir', dir, '--name', 'a', '--days', '100');
  const [authority, host] = await Promise.all(
    ['ca', 'a'].map((name) => openssl('x509', '-in', join(dir, `${name}.pem`), '-noout', '-enddate')),
  );
  assert.equal(host, authority);
  const tenDays = String(10 * 86_400 - 3_600);
  await openssl('x509', '-in', join(dir, 'a.pem'), '-noout', '-checkend', tenDays);
});

test('show says for whom, for what and for how long', async (context) => {
  const dir = temporaryFolder(context);
  await certs('init', '--dir', dir);
  await certs('issue', '--dir', dir, '--name', 'web-1', '--client', '--days', '30', '--out', join(dir, 'out'));
  const { code, out } = await certs('show', join(dir, 'out/web-1.pem'));
  assert.equal(code, 0);
  assert.match(out, /^subject +CN=web-1\nissuer +CN=tributary authority\nnames +web-1\nfor +agent \(TLS client\)\n/);
  assert.match(out, /valid to .* UTC \((29|30) days left\)/);
  const serial = (await openssl('x509', '-in', join(dir, 'out/web-1.pem'), '-noout', '-serial')).trim().split('=')[1];
  assert.ok(out.includes(serial));
  assert.match((await certs('show', join(dir, 'ca.pem'))).out, /for +an authority/);
});

test('nothing is overwritten without --force, and nothing is half done', async (context) => {
  const dir = temporaryFolder(context);
  await certs('init', '--dir', dir);
  const before = readFileSync(join(dir, 'ca.pem'), 'utf8');
  const again = await certs('init', '--dir', dir);
  assert.equal(again.code, 2);
  assert.match(again.err, /ca\.pem exists.*--force.*TRB_CERTS_EXISTS/);
  assert.equal(readFileSync(join(dir, 'ca.pem'), 'utf8'), before);
  assert.equal((await certs('init', '--dir', dir, '--force')).code, 0);
  assert.notEqual(readFileSync(join(dir, 'ca.pem'), 'utf8'), before);
  writeFileSync(join(dir, 'host-key.pem'), 'precious');
  assert.equal((await certs('issue', '--dir', dir, '--name', 'host')).code, 2);
  assert.equal(readFileSync(join(dir, 'host-key.pem'), 'utf8'), 'precious');
  assert.throws(() => statSync(join(dir, 'host.pem')), { code: 'ENOENT' });
});

test('what cannot be done says what would work, with exit code 2 and no stack', async (context) => {
  const dir = temporaryFolder(context);
  await certs('init', '--dir', dir);
  await certs('issue', '--dir', dir, '--name', 'other');
  const broken = temporaryFolder(context);
  writeFileSync(join(broken, 'ca.pem'), readFileSync(join(dir, 'ca.pem')));
  writeFileSync(join(broken, 'ca-key.pem'), readFileSync(join(dir, 'other-key.pem')));
  const cases: [string[], RegExp][] = [
    [['issue', '--dir', join(dir, 'absent'), '--name', 'a'], /no authority in .*certs init --dir/],
    [['issue', '--dir', broken, '--name', 'a'], /its key is not the one/],
    [['issue', '--dir', dir, '--name', '../evil'], /--name \.\.\/evil: use a host name/],
    [['issue', '--dir', dir, '--name', 'ca'], /authority's own file/],
    [['issue', '--dir', dir, '--name', 'a', '--san', 'no_good'], /--san no_good/],
    [['issue', '--dir', dir, '--name', 'a', '--days', '0'], /--days 0: use a whole number/],
    [['issue', '--dir', dir], /--name <HOST>' not specified/],
    [['show', join(dir, 'absent.pem')], /cannot read .*absent\.pem/],
    [['show', join(dir, 'other-key.pem')], /holds no certificate/],
    [['init', '--dir', join(dir, 'ca.pem')], /ca\.pem/],
  ];
  await Promise.all(
    cases.map(async ([args, message]) => {
      const { code, err } = await certs(...args);
      assert.equal(code, 2, `${args.join(' ')}: ${err}`);
      assert.match(err, message);
      assert.doesNotMatch(err, /\n {4}at /);
    }),
  );
});
