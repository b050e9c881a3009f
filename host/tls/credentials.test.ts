import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Credentials, loadCredentials, type TlsFiles } from './credentials.ts';
import { TestAuthority } from './testing/test-credentials.ts';
import { parseTlsFiles } from './tls-options.ts';

function writeFiles(context: TestContext, credentials: Credentials): TlsFiles {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-credentials-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const files = { ca: join(folder, 'ca.pem'), cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  for (const part of ['ca', 'cert', 'key'] as const) writeFileSync(files[part], credentials[part]);
  return files;
}

test('three files that fit together are read as they are', async (context) => {
  const credentials = await (await TestAuthority.create()).issue();
  assert.deepEqual(await loadCredentials(writeFiles(context, credentials), new Date()), credentials);
});

test('files that would fail in every handshake are refused with the option, the file and the reason', async (context) => {
  const authority = await TestAuthority.create();
  const good = await authority.issue();
  const cases: [Partial<Credentials>, RegExp][] = [
    [{ ca: '' }, /^tls\.ca \S+ca\.pem: holds no certificate in PEM form$/],
    [{ ca: good.cert }, /^tls\.ca \S+: CN=host\.test is not the certificate of an authority$/],
    [{ cert: good.key }, /^tls\.cert \S+cert\.pem: holds no certificate/],
    [{ cert: good.cert.replace(/[A-Z]{4}/, '////') }, /^tls\.cert /],
    [{ key: good.cert }, /^tls\.key \S+key\.pem: holds no private key/],
    [{ key: (await authority.issue()).key }, /^tls\.key \S+: is not the key of the certificate in \S+cert\.pem$/],
    [
      await authority.issue({ issuedInDays: -50, days: 10 }),
      /^tls\.cert \S+: expired on \d{4}-.*tributary certs issue/,
    ],
    [await authority.issue({ issuedInDays: 50 }), /^tls\.cert \S+: is valid from \d{4}-.*the clock of this host says/],
  ];
  for (const [change, message] of cases) {
    const files = writeFiles(context, { ...good, ...change });
    await assert.rejects(loadCredentials(files, new Date()), { code: 'TRB_TLS', message });
  }
  const files = writeFiles(context, good);
  await assert.rejects(loadCredentials({ ...files, key: `${files.key}.absent` }, new Date()), {
    code: 'TRB_TLS',
    message: /^tls\.key \S+\.absent: there is no such file$/,
  });
});

test('the three files are given together, and not together with plaintext', () => {
  const files = { ca: 'a', cert: 'b', key: 'c' };
  assert.deepEqual(parseTlsFiles(files, false), files);
  assert.equal(parseTlsFiles({}, true), undefined);
  assert.throws(() => parseTlsFiles({ ca: 'a' }, false), { message: /tls\.cert and tls\.key are missing/ });
  assert.throws(() => parseTlsFiles({ ca: 'a', cert: 'b' }, false), { message: /tls\.key is missing/ });
  assert.throws(() => parseTlsFiles(files, true), { code: 'TRB_TLS_INSECURE' });
});
