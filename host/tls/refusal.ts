// Why a connection between hosts is refused before the first frame, in words for the log of the end that refuses.

import { codeOf, type TlsError } from './openssl-error.ts';

/** One counter each. */
export const HANDSHAKE_REFUSALS = {
  plaintext: 'it spoke plaintext to a TLS port: give that agent tls.ca, tls.cert and tls.key',
  tls_to_plaintext: 'it began TLS on a plaintext port: give this reducer tls.ca, tls.cert and tls.key',
  tls_version: 'it offers no TLS 1.3',
  no_certificate: 'it showed no certificate: give that agent tls.cert and tls.key',
  unknown_authority: 'its certificate is not from an authority in tls.ca',
  certificate_expired: 'its certificate has expired, or the clocks disagree',
  certificate_not_yet_valid: 'its certificate is not valid yet, or the clocks disagree',
  certificate_purpose: 'its certificate is not for TLS clients (extendedKeyUsage)',
  certificate: 'its certificate does not verify',
  protocol: 'it does not offer the protocol of agents (ALPN tributary/1)',
  timeout: 'it did not finish the handshake in time',
  too_many: 'too many handshakes are in progress',
  abandoned: 'it ended the handshake: it may not trust the certificate of this reducer',
  broken: 'its handshake is broken',
} as const;

export type HandshakeRefusal = keyof typeof HANDSHAKE_REFUSALS;

export interface RefusedConnection {
  refusal: HandshakeRefusal;
  /** Address and port. */
  peer: string;
  /** What OpenSSL or the certificate says; may be empty. */
  detail: string;
}

/** Node's names of OpenSSL's verify results (X509_V_ERR_*). */
const BY_VERIFY_CODE: Readonly<Record<string, HandshakeRefusal>> = {
  CERT_HAS_EXPIRED: 'certificate_expired',
  CERT_NOT_YET_VALID: 'certificate_not_yet_valid',
  INVALID_PURPOSE: 'certificate_purpose',
  UNABLE_TO_GET_ISSUER_CERT: 'unknown_authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unknown_authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unknown_authority',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'unknown_authority',
  SELF_SIGNED_CERT_IN_CHAIN: 'unknown_authority',
  CERT_SIGNATURE_FAILURE: 'unknown_authority',
};

/** OpenSSL's reasons, as Node names them. */
const BY_ERROR_CODE: Readonly<Record<string, HandshakeRefusal>> = {
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'tls_version',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'protocol',
  ERR_SSL_HTTP_REQUEST: 'plaintext',
  ERR_SSL_WRONG_VERSION_NUMBER: 'plaintext',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'timeout',
  ECONNRESET: 'abandoned',
};

/** `code`: TLSSocket.authorizationError of a peer that did show a certificate. */
export function refusalOfCertificate(code: string): HandshakeRefusal {
  return BY_VERIFY_CODE[code] ?? 'certificate';
}

/** `error`: with which a handshake ended. */
export function refusalOfHandshake(error: TlsError): HandshakeRefusal {
  return BY_ERROR_CODE[codeOf(error)] ?? 'broken';
}
