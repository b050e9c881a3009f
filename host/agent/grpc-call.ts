// One question and one answer by gRPC over a unix socket (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md). The library for gRPC would take more
// memory than the rest of an agent's names.
import { once } from 'node:events';
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import { connect as connectSocket } from 'node:net';

export interface GrpcCall {
  /** /package.Service/Method */
  path: string;
  metadata?: Readonly<Record<string, string>>;
  /** A protobuf message, as is the answer. */
  message: Uint8Array;
}

/** For a whole answer: a busy machine may take long over one, and the start of the agent waits for it. */
const TIMEOUT_MS = 5_000;
const ANSWER_BYTES_MAX = 32 << 20;
/** Before a message: whether it is compressed, and its length, 32 bits, big-endian. */
const PREFIX_BYTES = 5;
const OK = '0';
const NOT_FOUND = '5';

/** Throws an Error when nobody listens there; ENOENT when there is no socket, in which case nothing is loaded. Close it. */
export async function openGrpc(socketPath: string): Promise<ClientHttp2Session> {
  const socket = connectSocket(socketPath);
  await once(socket, 'connect', { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((error) => {
    socket.destroy();
    throw error;
  });
  // An import would load HTTP/2 with this file, for all hosts that have nobody to ask.
  const { connect } = process.getBuiltinModule('node:http2');
  const session = connect('http://localhost', { createConnection: () => socket });
  // Its streams end with the session, and tell of it.
  session.on('error', () => session.destroy());
  return session;
}

/** The answer; undefined for NOT_FOUND. Throws an Error for another status, and when the answer does not come in time. */
export async function callGrpc(
  session: ClientHttp2Session,
  { path, metadata, message }: GrpcCall,
): Promise<Uint8Array | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | undefined>();
  const head = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...metadata };
  const stream = session.request(head, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  const pieces: Buffer[] = [];
  let byteCount = 0;
  let status: string | undefined;
  // An answer without a message has it in its head.
  const readStatus = (headers: IncomingHttpHeaders): void => {
    status = headers['grpc-status']?.toString() ?? status;
  };
  stream.on('response', readStatus);
  stream.on('trailers', readStatus);
  stream.on('data', (piece: Buffer) => {
    byteCount += piece.length;
    if (byteCount > ANSWER_BYTES_MAX) stream.destroy(new Error(`${path}: more than ${ANSWER_BYTES_MAX} bytes`));
    else pieces.push(piece);
  });
  stream.on('error', reject);
  stream.once('close', () => {
    if (status === NOT_FOUND) return resolve(undefined);
    const answer = status === OK ? readMessage(Buffer.concat(pieces)) : undefined;
    if (answer === undefined) return reject(new Error(`${path}: status ${status ?? 'missing'}`));
    resolve(answer);
  });
  stream.end(writeMessage(message));
  return promise;
}

function writeMessage(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(PREFIX_BYTES + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

/** Undefined when it is not one whole message without compression, which was not offered. */
function readMessage(framed: Buffer): Uint8Array | undefined {
  const isWhole = framed.length >= PREFIX_BYTES && framed.readUInt32BE(1) === framed.length - PREFIX_BYTES;
  return isWhole && framed[0] === 0 ? framed.subarray(PREFIX_BYTES) : undefined;
}
