import { type ClientRequest, type RequestOptions, request as requestPlain } from 'node:http';
import { request as requestSecure } from 'node:https';
import { codeOf } from '../tls/openssl-error.ts';
import { TLS_VERSION } from '../tls/parameters.ts';
import { formatAddress } from '../wire/transport/address.ts';
import type { ApiTarget } from './api-target.ts';

const ANSWER_BYTES_MAX = 64 << 20;
const ANSWER_MS_MAX = 5_000;

export interface FetchOptions {
  /** So long the reducer may let the question wait, milliseconds. */
  waitMs?: number;
  signal?: AbortSignal;
}

/** The API did not answer, or not with 200. The message says what to do. */
export class ApiError extends Error {
  readonly code: string;
  /** HTTP status of a refusal. */
  readonly status: number | undefined;

  constructor(code: string, message: string, status?: number) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** GET of a JSON document from a reducer's API. Throws ApiError, or AbortError with `signal`. */
export async function fetchJson<T>(target: ApiTarget, path: string, options: FetchOptions = {}): Promise<T> {
  const { status, body } = await get(target, path, options);
  if (status === 401) throw new ApiError('TRB_API_TOKEN', explainToken(target));
  if (status !== 200) throw new ApiError('TRB_API_REFUSED', `${path}: ${errorText(body)}`, status);
  return JSON.parse(body) as T;
}

function get(target: ApiTarget, path: string, options: FetchOptions): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const call = start(target, path, options).once('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX)
          call.destroy(new ApiError('TRB_API_ANSWER', `the answer exceeds ${ANSWER_BYTES_MAX} bytes`));
        else chunks.push(chunk);
      });
      // Once there is an answer, it is the one that is told of the end of the connection.
      response.once('error', (error: NodeJS.ErrnoException) =>
        reject(error.code === 'ECONNRESET' ? hungUp(target) : error),
      );
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    call.once('timeout', () => call.destroy(new ApiError('TRB_API_SILENT', 'the reducer did not answer within 5 s')));
    call.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, target)));
    call.end();
  });
}

function start(target: ApiTarget, path: string, { waitMs = 0, signal }: FetchOptions): ClientRequest {
  const timeout = waitMs + ANSWER_MS_MAX;
  if ('path' in target) return requestPlain({ socketPath: target.path, path, signal, timeout });
  const { host, port, token, ca } = target;
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const options: RequestOptions = { host, port, path, headers, signal, timeout };
  return ca === undefined ? requestPlain(options) : requestSecure({ ...options, ca, minVersion: TLS_VERSION });
}

function explainToken(target: ApiTarget): string {
  const where = formatAddress(target);
  return target.token === undefined
    ? `${where} wants a token: name its file with --api-token-file`
    : `${where} does not know this token: take that of its api.token-file`;
}

function explain(error: NodeJS.ErrnoException, target: ApiTarget): Error {
  const where = formatAddress(target);
  // A server of TLS just hangs up on plaintext.
  if (error.code === 'ECONNRESET' && 'port' in target && target.ca === undefined)
    return new ApiError('TRB_API_TLS', `${where} hung up; if it speaks TLS, name its authority with --api-ca`);
  if (error.code === 'ECONNRESET') return hungUp(target);
  if (codeOf(error).startsWith('ERR_SSL_'))
    return new ApiError('TRB_API_TLS', `${where} does not speak TLS: leave --api-ca out`);
  if (isCertificateError(error.code))
    return new ApiError('TRB_API_TLS', `the certificate of ${where} is not to be trusted: ${error.message}`);
  if (error.code === 'EACCES')
    return new ApiError(
      'TRB_API_PERMISSION',
      `no permission to open ${where}: it is for root and the group tributary; run this with sudo`,
    );
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return new ApiError(
      'TRB_API_ABSENT',
      `no reducer answers at ${where}: start one with \`tributary up\`, or name its API with --api`,
    );
  }
  return error;
}

function hungUp(target: ApiTarget): ApiError {
  return new ApiError('TRB_API_ABSENT', `${formatAddress(target)} hung up: its reducer has stopped`);
}

function isCertificateError(code = ''): boolean {
  return code.includes('CERT') || code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' || code === 'INVALID_PURPOSE';
}

function errorText(body: string): string {
  try {
    const { error, message } = JSON.parse(body) as { error?: string; message?: string };
    return message ?? error ?? body;
  } catch {
    return body;
  }
}
