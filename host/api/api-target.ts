// Where an API is and what it wants to see: for `tributary edges` and whoever else asks a reducer.
import { readFile } from 'node:fs/promises';
import { UsageError } from '../lib/usage-error.ts';
import { type ListenAddress, parseListenAddress } from '../wire/transport/address.ts';
import { assertReachable } from '../wire/transport/tcp.ts';
import { DEFAULT_TOKEN_FILE, readToken } from './api-access.ts';

export type ApiTarget = ListenAddress & {
  /** Sent over TCP. */
  token?: string;
  /** Certificates of authorities, PEM: the API speaks TLS. */
  ca?: string;
};

export interface ApiTargetOptions {
  /** unix:PATH or HOST:PORT. */
  api: string;
  /** Without it the token of this host, if this user may read it. */
  apiTokenFile?: string;
  /** File with the authorities that may have issued the API's certificate. */
  apiCa?: string;
  /** The token may leave this host in plaintext. */
  insecure: boolean;
}

/** Throws UsageError. */
export async function resolveApiTarget({ api, apiTokenFile, apiCa, insecure }: ApiTargetOptions): Promise<ApiTarget> {
  const address = parseListenAddress(api);
  if ('path' in address) return address;
  assertReachable({ address, insecure }, apiCa !== undefined);
  const ca = apiCa === undefined ? undefined : await readAuthorities(apiCa);
  // What reads nothing here is told by the API what it needs.
  const token =
    apiTokenFile === undefined
      ? await readToken(DEFAULT_TOKEN_FILE).catch(() => undefined)
      : await readToken(apiTokenFile);
  return { ...address, ...(token === undefined ? {} : { token }), ...(ca === undefined ? {} : { ca }) };
}

async function readAuthorities(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: Error) => {
    throw new UsageError('TRB_API_CA', `cannot read the authorities in ${path}: ${error.message}`);
  });
}
