// The agent's side of TLS: who the reducer has to be, and what went wrong in words.
import { isIP } from 'node:net';
import { type ConnectionOptions, checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls';
import type { Credentials } from '../../tls/credentials.ts';
import { codeOf, reasonOf, type TlsError } from '../../tls/openssl-error.ts';
import { AGENT_PROTOCOL, TLS_VERSION } from '../../tls/parameters.ts';

export interface SecureConnectOptions {
  address: { host: string; port: number };
  credentials: Credentials;
  /** What the reducer's certificate has to stand for; a host name or an IP address. */
  serverName: string;
}

/** `secured` is called once the reducer has proved its name; the reducer may still refuse this end's certificate after that. */
export function secureConnect(
  { address, credentials, serverName }: SecureConnectOptions,
  secured: () => void,
): TLSSocket {
  const { ca, cert, key } = credentials;
  const options: ConnectionOptions = {
    ...address,
    ...{ ca, cert, key, minVersion: TLS_VERSION, ALPNProtocols: [AGENT_PROTOCOL] },
    // RFC 6066, section 3: no address in the server name extension.
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
  };
  const socket = connectTls(options, () => {
    if (socket.alpnProtocol === AGENT_PROTOCOL) secured();
    else socket.destroy(new Error('it speaks TLS, but is no reducer: it does not know the protocol of agents'));
  });
  return socket;
}

/** OpenSSL's and Node's names of what an agent can meet. */
const WORDS: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate of the reducer is not from an authority in tls.ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate of the reducer is not from an authority in tls.ca',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate of the reducer is not from an authority in tls.ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate of the reducer is not from an authority in tls.ca',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate of the reducer is not from an authority in tls.ca',
  CERT_SIGNATURE_FAILURE: 'the certificate of the reducer is not from an authority in tls.ca',
  CERT_HAS_EXPIRED: 'the certificate of the reducer has expired, or the clocks disagree',
  CERT_NOT_YET_VALID: 'the certificate of the reducer is not valid yet, or the clocks disagree',
  INVALID_PURPOSE: 'the certificate of the reducer is not for TLS servers (extendedKeyUsage)',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the reducer answers in plaintext: give it tls.ca, tls.cert and tls.key',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'the reducer answers in plaintext: give it tls.ca, tls.cert and tls.key',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'the reducer does not speak TLS 1.3',
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
    'it speaks TLS, but is no reducer: it does not know the protocol of agents',
};

/** Why a connection failed, for the log of the end that made it. Empty when it just ended. */
export function describeFailure(error: TlsError | undefined): string {
  return error === undefined ? '' : (WORDS[codeOf(error)] ?? (reasonOf(error) || error.message));
}

/** TLS will fail again in the same way until somebody changes a file. */
export function isHandshakeFailure(error: TlsError | undefined): boolean {
  const code = codeOf(error);
  return code in WORDS || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_');
}
