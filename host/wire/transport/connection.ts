import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { PeerCertificate } from '../peer-certificate.ts';
import { formatAddress } from './address.ts';

/** A dead host is noticed after about this, times the kernel's number of probes. */
const KEEP_ALIVE_MS = 10_000;
/** How long the last bytes, a Goodbye, may take to leave after `close`. */
const CLOSE_TIMEOUT_MS = 1_000;

/** What happens on a connection. `closed` comes once and last, unless the connection was given away. */
export interface ConnectionEvents {
  /** `piece` is the receiver's, who may keep it or free it. */
  bytes(piece: Uint8Array): void;
  /** After `send` had returned false: everything has been handed to the kernel. */
  drained(): void;
  closed(error: Error | undefined): void;
}

/** Over TCP, TLS or a unix socket. */
export class Connection {
  readonly #socket: Socket;
  readonly #peer: string;
  /** Undefined without TLS. */
  readonly certificate: PeerCertificate | undefined;

  /** From the descriptor of `give`; the caller calls `listen` before anything else can happen. */
  static taken(descriptor: number): Connection {
    return new Connection(new Socket({ fd: descriptor }));
  }

  constructor(socket: Socket, certificate?: PeerCertificate) {
    this.#socket = socket;
    this.#peer = peerOf(socket);
    this.certificate = certificate;
  }

  /** Address and port of an accepted connection, also when it has ended. */
  get peer(): string {
    return this.#peer;
  }

  /** False when the bytes had to be buffered in this process: `drained` will follow. */
  send(bytes: Uint8Array): boolean {
    return !this.#socket.writable || this.#socket.write(bytes);
  }

  /** What is sent from now on leaves in one piece, with `uncork`. */
  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  /** After what was sent. Nothing is reported any more but `closed`. */
  close(): void {
    if (this.#socket.connecting) this.#socket.destroy();
    this.#socket.removeAllListeners('data').removeAllListeners('drain').resume().end();
    setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS).unref();
  }

  /**
   * A descriptor of the connection for another thread of this process, made by `duplicate` of the one here; this end is over, and reports nothing any
   * more. Undefined, and nothing has changed, when part of it is in this thread: TLS, bytes that have not left, or an end that is closing.
   */
  give(duplicate: (descriptor: number) => number | undefined): number | undefined {
    const socket = this.#socket;
    const own = descriptorOf(socket);
    const hasBytes = socket.writableLength + socket.readableLength > 0 || socket.writableNeedDrain;
    if (own === undefined || hasBytes || !socket.readable || !socket.writable) return undefined;
    const given = duplicate(own);
    if (given === undefined) return undefined;
    socket.removeAllListeners('data').removeAllListeners('drain').removeAllListeners('close').destroy();
    return given;
  }

  /** Ends it at once; `closed` will tell why. */
  fail(error: Error): void {
    this.#socket.destroy(error);
  }

  /** Reports events from now on. */
  listen(events: ConnectionEvents): void {
    let failure: Error | undefined;
    this.#socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
    this.#socket.on('data', (piece: Buffer) => events.bytes(piece));
    this.#socket.on('drain', () => events.drained());
    this.#socket.on('error', (error) => {
      failure = error;
    });
    this.#socket.once('close', () => events.closed(failure));
  }
}

/** Node tells it under this name only. That of a socket with TLS is of what passes below it. */
function descriptorOf(socket: Socket): number | undefined {
  if (socket instanceof TLSSocket) return undefined;
  const { _handle: handle } = socket as { _handle?: { fd?: number } | null };
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}

/** A socket that is closed knows its peer no more; what is open and has no address is a unix socket. */
export function peerOf({ remoteAddress, remotePort, destroyed }: Socket): string {
  if (remoteAddress !== undefined) return formatAddress({ host: remoteAddress, port: remotePort ?? 0 });
  return destroyed ? 'a peer that had gone' : 'unix';
}
