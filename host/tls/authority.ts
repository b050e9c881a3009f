/**
 * A small certificate authority for those who have none: one self-signed root that signs the hosts' certificates itself (RFC 5280).
 * ECDSA on P-256, because every TLS stack verifies it. Certificates and keys are PEM texts here; host/cmd/certs.ts keeps them in files.
 */
import 'reflect-metadata';
import { KeyObject, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const DAY_MS = 86_400_000;
/** The clock of whoever verifies may be behind by this much. */
const BACKDATE_MS = 5 * 60_000;

export interface KeyPair {
  /** One certificate. */
  certificate: string;
  /** PKCS #8. */
  key: string;
}

export type Purpose = 'client' | 'server';

export interface AuthorityOptions {
  name: string;
  days: number;
  now: Date;
}

export interface IssueOptions {
  /** Host name or IP address: the subject, and the first of the alternative names. */
  name: string;
  /** Further host names and IP addresses. */
  alternativeNames: readonly string[];
  purposes: readonly Purpose[];
  days: number;
  now: Date;
}

/** A root that may sign certificates of hosts, but of no further authority. */
export async function createAuthority({ name, days, now }: AuthorityOptions): Promise<KeyPair> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [name] }],
    notBefore: new Date(now.getTime() - BACKDATE_MS),
    notAfter: new Date(now.getTime() + days * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: pem(certificate), key: exportKey(keys.privateKey) };
}

/** A certificate of a host, which ends with its authority at the latest. Throws when `authority` is not a certificate with its key. */
export async function issueCertificate(authority: KeyPair, options: IssueOptions): Promise<KeyPair> {
  const { name, alternativeNames, purposes, days, now } = options;
  const issuer = new x509.X509Certificate(authority.certificate);
  const keys = await generateKeys();
  const notAfterMs = Math.min(now.getTime() + days * DAY_MS, issuer.notAfter.getTime());
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [name] }],
    issuer: issuer.subjectName,
    notBefore: new Date(Math.max(now.getTime() - BACKDATE_MS, issuer.notBefore.getTime())),
    notAfter: new Date(notAfterMs),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(purposes.map((purpose) => x509.ExtendedKeyUsage[`${purpose}Auth`])),
      new x509.SubjectAlternativeNameExtension(
        [...new Set([name, ...alternativeNames])].map(
          (value) => new x509.GeneralName(isIP(value) === 0 ? 'dns' : 'ip', value),
        ),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: pem(certificate), key: exportKey(keys.privateKey) };
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function importKey(key: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(key), ALGORITHM, false, ['sign']);
}

function exportKey(key: webcrypto.CryptoKey): string {
  return String(KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }));
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

/** 127 random bits: positive, and at most 20 octets as RFC 5280, section 4.1.2.2 wants it. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0] & 0x7f) | 0x40;
  return bytes.toString('hex');
}
