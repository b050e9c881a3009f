// The three files of a TLS end, read and checked as a whole: what would fail in every handshake is said once, at the start.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { UsageError } from '../lib/usage-error.ts';

/** Paths of PEM files. */
export interface TlsFiles {
  /** Certificates of the authorities that a peer's certificate may come from. */
  ca: string;
  /** This end's certificate, followed by those of intermediate authorities. */
  cert: string;
  key: string;
}

/** Texts, so that they can be handed to threads; certificates of different times differ. */
export interface Credentials {
  ca: string;
  cert: string;
  key: string;
}

/** Everything an end names once in an error message: the option, the file, what is wrong. */
function unusable(option: keyof TlsFiles, path: string, reason: string): UsageError {
  return new UsageError('TRB_TLS', `tls.${option} ${path}: ${reason}`);
}

/** Throws UsageError TRB_TLS. */
export async function loadCredentials(files: TlsFiles, now: Date): Promise<Credentials> {
  // One after the other, so that of several files that are missing the same one is always named.
  const ca = await read('ca', files.ca);
  const cert = await read('cert', files.cert);
  const key = await read('key', files.key);
  for (const authority of parse('ca', files.ca, ca)) {
    if (!authority.ca)
      throw unusable('ca', files.ca, `${oneLine(authority.subject)} is not the certificate of an authority`);
  }
  const [own] = parse('cert', files.cert, cert);
  if (!own.checkPrivateKey(parseKey(files.key, key)))
    throw unusable('key', files.key, `is not the key of the certificate in ${files.cert}`);
  if (own.validToDate <= now)
    throw unusable(
      'cert',
      files.cert,
      `expired on ${day(own.validToDate)}: issue a new one with \`tributary certs issue\``,
    );
  if (own.validFromDate > now)
    throw unusable(
      'cert',
      files.cert,
      `is valid from ${day(own.validFromDate)} on; the clock of this host says ${day(now)}`,
    );
  try {
    createSecureContext({ ca, cert, key });
  } catch (error) {
    throw unusable('cert', files.cert, messageOf(error));
  }
  return { ca, cert, key };
}

/** All certificates of a PEM text, in order. Throws when there is none or one does not parse. */
export function parseCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error('holds no certificate in PEM form');
  return blocks.map((block) => new X509Certificate(block));
}

/** The certificate's own end, or that of an authority above it in the file, if that comes first. */
export function expiryOf({ cert }: Credentials): Date {
  return new Date(Math.min(...parseCertificates(cert).map(({ validToDate }) => validToDate.getTime())));
}

/** Host names and addresses that the certificate stands for: its alternative names, else the common name. */
export function namesOf(certificate: X509Certificate): string[] {
  const alternatives = certificate.subjectAltName?.split(', ').map((entry) => entry.replace(/^[A-Za-z ]+:/, '')) ?? [];
  const common = /^CN=(.+)$/m.exec(certificate.subject)?.[1];
  return alternatives.length > 0 || common === undefined ? alternatives : [common];
}

/** Node prints one attribute of a distinguished name a line. */
export function oneLine(distinguishedName: string): string {
  return distinguishedName.replaceAll('\n', ', ');
}

async function read(option: keyof TlsFiles, path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw unusable(option, path, 'there is no such file');
    if (error.code === 'EACCES') throw unusable(option, path, 'this user may not read it');
    throw unusable(option, path, error.message);
  });
}

function parse(option: 'ca' | 'cert', path: string, pem: string): X509Certificate[] {
  try {
    return parseCertificates(pem);
  } catch (error) {
    throw unusable(option, path, messageOf(error));
  }
}

function parseKey(path: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw unusable('key', path, 'holds no private key without a passphrase in PEM form');
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function day(date: Date): string {
  return date.toISOString().slice(0, 16).replace('T', ' ');
}
