import { request } from 'node:http';
import type { ListenAddress } from '../wire/transport/address.ts';

const ANSWER_BYTES_MAX = 64 << 20;

/** The API did not answer, or not with 200. The message says what to do. */
export class ApiError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** GET of a JSON document from a reducer's API. Throws ApiError. */
export async function fetchJson<T>(address: ListenAddress, path: string): Promise<T> {
  const { status, body } = await get(address, path);
  if (status !== 200) throw new ApiError('TRB_API_REFUSED', `${path}: ${errorText(body)}`);
  return JSON.parse(body) as T;
}

function get(address: ListenAddress, path: string): Promise<{ status: number; body: string }> {
  const target = 'path' in address ? { socketPath: address.path } : { host: address.host, port: address.port };
  return new Promise((resolve, reject) => {
    const call = request({ ...target, path, timeout: 5_000 }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX)
          call.destroy(new ApiError('TRB_API_ANSWER', `the answer exceeds ${ANSWER_BYTES_MAX} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    call.once('timeout', () => call.destroy(new ApiError('TRB_API_SILENT', 'the reducer did not answer within 5 s')));
    call.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, address)));
    call.end();
  });
}

function explain(error: NodeJS.ErrnoException, address: ListenAddress): Error {
  const where = 'path' in address ? `unix:${address.path}` : `${address.host}:${address.port}`;
  if (error.code === 'EACCES')
    return new ApiError('TRB_API_PERMISSION', `no permission to open ${where}: it belongs to root; run this with sudo`);
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return new ApiError(
      'TRB_API_ABSENT',
      `no reducer answers at ${where}: start one with \`tributary up\`, or name its API with --api`,
    );
  }
  return error;
}

function errorText(body: string): string {
  try {
    const { error, message } = JSON.parse(body) as { error?: string; message?: string };
    return message ?? error ?? body;
  } catch {
    return body;
  }
}
