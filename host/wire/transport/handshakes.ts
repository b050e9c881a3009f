/**
 * The reducer's side of TLS between hosts. Each accepted socket passes here before anybody reads a frame from it:
 *
 *   accept ── first byte ──▶ is TLS ── TLS 1.3, ALPN ──▶ handshake done ── the peer's certificate ──▶ secured
 *     │ too many, silent       │ plaintext                  │ anything else       │ none, or a bad one
 *     └────────────────────────┴────────────────────────────┴─────────────────────┴──▶ refused, with the reason
 *
 * A client of TLS 1.3 is done before its certificate is looked at, so it could be cut off without a word; a Goodbye tells it why.
 */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { type Credentials, namesOf, oneLine } from '../../tls/credentials.ts';
import { reasonOf, type TlsError } from '../../tls/openssl-error.ts';
import { AGENT_PROTOCOL, HANDSHAKE_TIMEOUT_MS, mutualContext } from '../../tls/parameters.ts';
import {
  type HandshakeRefusal,
  type RefusedConnection,
  refusalOfCertificate,
  refusalOfHandshake,
} from '../../tls/refusal.ts';
import { encodeControl } from '../control.ts';
import { encodeFrame } from '../frame.ts';
import { FrameKind, GoodbyeReason } from '../gen/wire-layout.ts';
import { Connection, peerOf } from './connection.ts';

/** In progress at a time, for each listener. */
const HANDSHAKE_COUNT_MAX = 512;
/** Of these, from one address: a fleet behind one NAT still gets in, one after the other. */
const HANDSHAKE_COUNT_PER_ADDRESS_MAX = 64;
/** How long the peer has to read why it was refused. */
const GOODBYE_TIMEOUT_MS = 1_000;
/**
 * ContentType handshake and the version's major number, RFC 8446, section 5.1: every TLS connection begins so. A Hello does not: its first
 * bytes are its length, a multiple of 8.
 */
const TLS_HANDSHAKE_RECORD = 0x16;
const TLS_MAJOR_VERSION = 0x03;

const GOODBYES: Partial<Record<HandshakeRefusal, GoodbyeReason>> = {
  no_certificate: GoodbyeReason.NoCertificate,
  unknown_authority: GoodbyeReason.UnknownAuthority,
  certificate_expired: GoodbyeReason.CertificateExpired,
  protocol: GoodbyeReason.ProtocolVersion,
};

export interface HandshakesOptions {
  credentials: Credentials;
  timeoutMs?: number;
  countMax?: number;
  countPerAddressMax?: number;
}

export interface HandshakesDependencies {
  /** The peer is one of ours. */
  secured: (connection: Connection) => void;
  refused: (refused: RefusedConnection) => void;
}

interface Pending {
  socket: Socket;
  peer: string;
  address: string;
  timer: NodeJS.Timeout;
}

export class Handshakes {
  readonly #options: Required<HandshakesOptions>;
  readonly #dependencies: HandshakesDependencies;
  /** It listens nowhere: sockets are handed to it once they have begun TLS. */
  readonly #server: Server;
  /** By address and port of the peer. */
  readonly #pending = new Map<string, Pending>();
  readonly #countByAddress = new Map<string, number>();

  constructor(options: HandshakesOptions, dependencies: HandshakesDependencies) {
    this.#options = {
      timeoutMs: HANDSHAKE_TIMEOUT_MS,
      countMax: HANDSHAKE_COUNT_MAX,
      countPerAddressMax: HANDSHAKE_COUNT_PER_ADDRESS_MAX,
      ...options,
    };
    this.#dependencies = dependencies;
    this.#server = createServer({
      ...mutualContext(options.credentials),
      requestCert: true,
      // #judge does it, so that the peer hears the reason.
      rejectUnauthorized: false,
      ALPNProtocols: [AGENT_PROTOCOL],
      handshakeTimeout: this.#options.timeoutMs * 2,
    });
    this.#server.on('secureConnection', (socket) => this.#judge(socket));
    this.#server.on('tlsClientError', (error: TlsError, socket) => {
      // When the peer has gone its address has, too: then the end of the TCP socket tells.
      const pending = this.#pending.get(peerOf(socket));
      if (pending !== undefined) this.#refuse(pending, refusalOfHandshake(error), reasonOf(error) || error.message);
    });
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** For handshakes that begin from now on. */
  renew(credentials: Credentials): void {
    this.#server.setSecureContext(mutualContext(credentials));
  }

  /** Takes over a socket that was just accepted. */
  take(socket: Socket): void {
    const address = socket.remoteAddress;
    if (address === undefined) {
      socket.destroy();
      return this.#dependencies.refused({ refusal: 'abandoned', peer: 'a peer that had gone', detail: '' });
    }
    const peer = peerOf(socket);
    const countOfAddress = this.#countByAddress.get(address) ?? 0;
    const { countMax, countPerAddressMax } = this.#options;
    // One peer has the same port twice when it reaches two addresses of this host.
    if (this.#pending.size >= countMax || countOfAddress >= countPerAddressMax || this.#pending.has(peer)) {
      socket.destroy();
      return this.#dependencies.refused({ refusal: 'too_many', peer, detail: '' });
    }
    const timer = setTimeout(() => {
      this.#refuse(pending, 'timeout', '');
      socket.destroy();
    }, this.#options.timeoutMs);
    const pending: Pending = { socket, peer, address, timer };
    this.#pending.set(peer, pending);
    this.#countByAddress.set(address, countOfAddress + 1);
    socket.on('error', () => {});
    socket.once('close', () => this.#refuse(pending, 'abandoned', ''));
    socket.once('data', (piece: Buffer) => this.#begin(pending, piece));
  }

  /** Ends the handshakes in progress. */
  stop(): void {
    for (const pending of [...this.#pending.values()]) {
      this.#settle(pending);
      pending.socket.destroy();
    }
  }

  #begin(pending: Pending, piece: Buffer): void {
    const { socket } = pending;
    if (piece[0] !== TLS_HANDSHAKE_RECORD) {
      this.#refuse(pending, 'plaintext', '');
      return sayGoodbye(socket, GoodbyeReason.TlsRequired);
    }
    socket.pause();
    socket.unshift(piece);
    this.#server.emit('connection', socket);
  }

  #judge(socket: TLSSocket): void {
    const pending = this.#pending.get(peerOf(socket));
    // Its time was over in this very moment.
    if (pending === undefined) return void socket.destroy();
    socket.on('error', () => {});
    const certificate = socket.getPeerX509Certificate();
    const refusal = judge(socket, certificate);
    if (refusal !== undefined) {
      this.#refuse(pending, refusal, describe(socket, certificate));
      return sayGoodbye(socket, GOODBYES[refusal] ?? GoodbyeReason.CertificateRefused);
    }
    this.#settle(pending);
    const { validToDate, serialNumber } = certificate as X509Certificate;
    const about = { names: namesOf(certificate as X509Certificate), serial: serialNumber };
    this.#dependencies.secured(new Connection(socket, { ...about, expires: validToDate.toISOString() }));
  }

  /** Counts once: what happens to the socket after that is a consequence. */
  #refuse(pending: Pending, refusal: HandshakeRefusal, detail: string): void {
    if (this.#settle(pending)) this.#dependencies.refused({ refusal, peer: pending.peer, detail });
  }

  #settle({ peer, address, timer, socket }: Pending): boolean {
    if (this.#pending.get(peer)?.socket !== socket) return false;
    clearTimeout(timer);
    this.#pending.delete(peer);
    const count = (this.#countByAddress.get(address) ?? 1) - 1;
    if (count > 0) this.#countByAddress.set(address, count);
    else this.#countByAddress.delete(address);
    return true;
  }
}

/** A plaintext listener was spoken to in TLS. */
export function beginsTls(piece: Uint8Array): boolean {
  return piece[0] === TLS_HANDSHAKE_RECORD && piece[1] === TLS_MAJOR_VERSION;
}

function judge(socket: TLSSocket, certificate: X509Certificate | undefined): HandshakeRefusal | undefined {
  if (certificate === undefined || socket.isSessionReused()) return 'no_certificate';
  if (!socket.authorized) return refusalOfCertificate(String(socket.authorizationError));
  return socket.alpnProtocol === AGENT_PROTOCOL ? undefined : 'protocol';
}

function describe(socket: TLSSocket, certificate: X509Certificate | undefined): string {
  if (certificate === undefined) return '';
  const { subject, issuer, serialNumber, validTo } = certificate;
  const verdict = socket.authorizationError === null ? '' : `${socket.authorizationError}, `;
  return `${verdict}${oneLine(subject)} from ${oneLine(issuer)}, serial ${serialNumber}, valid to ${validTo}`;
}

export function sayGoodbye(socket: Socket, reason: GoodbyeReason): void {
  const payload = encodeControl('Goodbye', { reason });
  // What the peer sent meanwhile is nothing to anybody.
  socket
    .removeAllListeners('data')
    .resume()
    .end(encodeFrame({ kind: FrameKind.Goodbye, seq: 0, payload }));
  setTimeout(() => socket.destroy(), GOODBYE_TIMEOUT_MS).unref();
}
