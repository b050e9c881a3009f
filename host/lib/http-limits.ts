// What one client of an HTTP listener can take from the others.
import type { Server } from 'node:http';
import type { Server as SecureServer } from 'node:https';

/** For a request, which is a line and some headers. Node looks twice a minute, so it may take half a minute more. */
const REQUEST_MS_MAX = 10_000;

export interface HttpLimits {
  /** A connection beyond this many is closed at once. */
  connectionCountMax: number;
  /** A connection on which nothing moves for so long is closed. */
  silenceMsMax: number;
}

/** `dropped` is told of each connection that was one too many; the address is not known on a unix socket. */
export function limitHttp(
  server: Server | SecureServer,
  { connectionCountMax, silenceMsMax }: HttpLimits,
  dropped: (address: string | undefined) => void,
): void {
  server.headersTimeout = REQUEST_MS_MAX;
  server.requestTimeout = REQUEST_MS_MAX;
  server.maxConnections = connectionCountMax;
  server.setTimeout(silenceMsMax);
  server.on('drop', (connection) => dropped(connection?.remoteAddress));
}
