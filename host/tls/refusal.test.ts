import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { codeOf, reasonOf } from './openssl-error.ts';
import { HANDSHAKE_REFUSALS, refusalOfCertificate, refusalOfHandshake } from './refusal.ts';

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/tls.md'), 'utf8');

test('every reason stands in the documentation, and no other', () => {
  const rows = [...PAGE.matchAll(/^\| `(\w+)` \|/gm)].map(([, reason]) => reason);
  assert.deepEqual(rows.sort(), Object.keys(HANDSHAKE_REFUSALS).sort());
});

test('OpenSSL’s reason is found in both forms in which Node reports it', () => {
  const line =
    '40A395:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/tlsany_meth.c:78:';
  const coded = Object.assign(new Error(line), {
    code: 'ERR_SSL_WRONG_VERSION_NUMBER',
    reason: 'wrong version number',
  });
  const written = Object.assign(new Error(`write EPROTO ${line}\n`), { code: 'EPROTO' });
  for (const error of [coded, written]) {
    assert.equal(codeOf(error), 'ERR_SSL_WRONG_VERSION_NUMBER');
    assert.equal(reasonOf(error), 'wrong version number');
    assert.equal(refusalOfHandshake(error), 'plaintext');
  }
  const other = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
  assert.deepEqual([codeOf(other), reasonOf(other), refusalOfHandshake(other)], ['ECONNRESET', '', 'abandoned']);
  assert.equal(refusalOfHandshake(new Error('?')), 'broken');
  assert.equal(refusalOfCertificate('CERT_REVOKED'), 'certificate');
});
