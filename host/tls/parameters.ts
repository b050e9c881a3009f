import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import type { Credentials } from './credentials.ts';

/** Every peer is a release of this program, or a client of its API: nothing older than TLS 1.3 has to be understood. */
export const TLS_VERSION = 'TLSv1.3';

/** ALPN: what agents and reducers speak inside TLS. A client of something else that shows a good certificate is not one of them. */
export const AGENT_PROTOCOL = 'tributary/1';

/** From accept to the end of the handshake. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

/**
 * Of a server whose clients show certificates. Without tickets nothing is resumed: a resumed session shows no certificate, so one that expired,
 * or whose authority was taken away, would still be good for as long as the ticket.
 */
export function mutualContext({ ca, cert, key }: Credentials): SecureContextOptions {
  return { ca, cert, key, minVersion: TLS_VERSION, secureOptions: constants.SSL_OP_NO_TICKET };
}
