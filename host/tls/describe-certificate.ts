import type { X509Certificate } from 'node:crypto';
import { namesOf, oneLine } from './credentials.ts';

const DAY_MS = 86_400_000;

/** Object identifiers of extended key usages, RFC 5280, section 4.2.1.12. */
const PURPOSES: Readonly<Record<string, string>> = {
  '1.3.6.1.5.5.7.3.1': 'reducer (TLS server)',
  '1.3.6.1.5.5.7.3.2': 'agent (TLS client)',
};

/** What a person wants to know of a certificate, a line each. */
export function describeCertificate(certificate: X509Certificate, now: Date): string[] {
  const { subject, issuer, ca, validFromDate, validToDate, serialNumber, fingerprint256, publicKey } = certificate;
  const { asymmetricKeyType, asymmetricKeyDetails } = publicKey;
  const key = asymmetricKeyDetails?.namedCurve ?? asymmetricKeyDetails?.modulusLength ?? '';
  return [
    `subject      ${oneLine(subject)}`,
    `issuer       ${oneLine(issuer)}`,
    `names        ${namesOf(certificate).join(', ')}`,
    `for          ${ca ? 'an authority' : describePurposes(certificate.keyUsage)}`,
    `valid from   ${time(validFromDate)}`,
    `valid to     ${time(validToDate)} (${describeRest(validToDate.getTime() - now.getTime())})`,
    `key          ${asymmetricKeyType} ${key}`.trimEnd(),
    `serial       ${serialNumber}`,
    `sha256       ${fingerprint256}`,
  ];
}

/** Node calls the extended key usage keyUsage. Without one a certificate serves any purpose. */
function describePurposes(usages: readonly string[] | undefined): string {
  return usages === undefined ? 'any purpose' : usages.map((usage) => PURPOSES[usage] ?? usage).join(', ');
}

function describeRest(leftMs: number): string {
  if (leftMs <= 0) return 'expired';
  const days = Math.floor(leftMs / DAY_MS);
  return days === 1 ? '1 day left' : `${days} days left`;
}

function time(date: Date): string {
  return date
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, ' UTC');
}
