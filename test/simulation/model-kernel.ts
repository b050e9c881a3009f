// The kernels of a small fleet, reduced to what the probes would say: sockets with running totals on hosts, and the truth about
// every connection. Connections live between two hosts, or between a host and an address where no agent runs.

import type { SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import {
  CloseReason,
  ConnectionPhase,
  KernelEventType,
  Role,
  RoleSource,
  SOCKET_EVENT_SIZE,
  writeSocketEvent,
} from '../../host/wire/gen/kernel-events-layout.ts';
import type { Random } from './random.ts';

interface Endpoint {
  host: Host | undefined;
  address: Uint8Array;
  port: number;
}

/** One end of a connection in its host's kernel. */
export interface Socket {
  connection: Connection;
  cookie: bigint;
  role: Role;
  isOpen: boolean;
  /** When the probes saw it begin; 0 = they were not there. */
  startMs: number;
  closedMs: number;
  sent: number;
  received: number;
  segmentsSent: number;
  segmentsReceived: number;
  retransmits: number;
  outOfOrder: number;
  /** Of a connection that the probes saw begin; 0 = none. */
  handshakeUs: number;
  /** From the opening to the close, as the probes saw them; 0 = they did not. */
  lifeNs: number;
  /** Moved since the totals iterator last passed. */
  moved: boolean;
  /** Totals when an agent began to look at it, oldest first. */
  adoptions: { sent: number; received: number }[];
}

/** A connection and the truth about it; it stays after its end. */
export interface Connection {
  client: Endpoint;
  server: Endpoint;
  joinKey: bigint;
  openedMs: number;
  clientSocket: Socket | undefined;
  serverSocket: Socket | undefined;
  forwardBytes: number;
  reverseBytes: number;
  /** Has been received, but the sender has not heard of it. */
  inFlight: { forward: number; reverse: number };
  transfers: { atMs: number; bytes: number }[];
  /** The client's port looks like a service, the server's does not, and there is no join key: who looks late takes one for the other. */
  isOdd: boolean;
}

export interface FailedConnect {
  host: Host;
  port: number;
  atMs: number;
}

const SEGMENT_BYTES = 1448;
/** The part of a transfer that one end may not have heard of. */
export const IN_FLIGHT_MAX = 0.1;

export class Host {
  readonly name: string;
  readonly address: Uint8Array;
  readonly sockets = new Set<Socket>();
  /** Set while an agent looks: gets each event as 200 bytes. */
  observer: ((event: Uint8Array) => void) | undefined;
  #nextCookie = 1n;

  constructor(name: string, index: number) {
    this.name = name;
    this.address = v4Mapped(10, 0, 0, index + 1);
  }

  newCookie(): bigint {
    return this.#nextCookie++;
  }

  /** The iterator at an agent's start: every connected socket with its history. */
  adopt(nowMs: number): Uint8Array[] {
    return [...this.sockets].map((socket) => {
      socket.adoptions.push({ sent: socket.sent, received: socket.received });
      socket.startMs = 0;
      return encode(socket, this, KernelEventType.SocketAdopted, CloseReason.None, nowMs);
    });
  }

  /** The iterator of every window: the sockets that moved. */
  totals(nowMs: number): Uint8Array[] {
    const moved = [...this.sockets].filter((socket) => socket.moved);
    for (const socket of moved) socket.moved = false;
    return moved.map((socket) => encode(socket, this, KernelEventType.SocketTotals, CloseReason.None, nowMs));
  }

  emit(socket: Socket, type: KernelEventType, reason: CloseReason, nowMs: number): void {
    this.observer?.(encode(socket, this, type, reason, nowMs));
  }
}

export class ModelKernel {
  readonly hosts: Host[];
  readonly live = new Set<Connection>();
  readonly connections: Connection[] = [];
  readonly failedConnects: FailedConnect[] = [];
  /** Of odd connections: the server's port by that of the client. */
  readonly oddPorts = new Map<number, number>();
  #random: Random;
  #nextPort = 32768;

  constructor(hostCount: number, random: Random) {
    this.#random = random;
    this.hosts = Array.from({ length: hostCount }, (_, index) => new Host(`host-${index}`, index));
  }

  /** `server` undefined: a public address without an agent. `joined` false: the ends have no join key. */
  connect(client: Host, server: Host | undefined, port: number, nowMs: number, joined = true): Connection {
    const connection = this.#newConnection(client, server, port, nowMs, joined ? this.#random.u64() | 1n : 0n);
    return this.#begin(connection, nowMs);
  }

  /** Without a join key; `clientPort` lies below the ephemeral ports and `port` among them. */
  connectOdd(client: Host, server: Host, clientPort: number, port: number, nowMs: number): Connection {
    const connection = this.#newConnection(client, server, port, nowMs, 0n);
    connection.client.port = clientPort;
    connection.isOdd = true;
    this.oddPorts.set(clientPort, port);
    this.oddPorts.set(port, port);
    return this.#begin(connection, nowMs);
  }

  failConnect(client: Host, port: number, nowMs: number): void {
    const connection = this.#newConnection(client, undefined, port, nowMs, 0n);
    const reason = this.#random.pick([
      CloseReason.ConnectRefused,
      CloseReason.ConnectTimedOut,
      CloseReason.ConnectAbandoned,
      CloseReason.ConnectUnreachable,
    ]);
    client.emit(newSocket(connection, client, Role.Client), KernelEventType.ConnectFailed, reason, nowMs);
    this.failedConnects.push({ host: client, port, atMs: nowMs });
  }

  /** Moves bytes both ways; a part of them may be seen by only one end until `settle`. */
  transfer(connection: Connection, forward: number, reverse: number, nowMs: number): void {
    this.settle(connection);
    const { clientSocket, serverSocket } = connection;
    connection.forwardBytes += forward;
    connection.reverseBytes += reverse;
    // The receiver has a byte before the sender hears of it: what is not acknowledged yet is in flight.
    const lag = serverSocket !== undefined && clientSocket !== undefined ? this.#random.next() * IN_FLIGHT_MAX : 0;
    const inFlight = { forward: Math.floor(forward * lag), reverse: Math.floor(reverse * lag) };
    connection.inFlight = inFlight;
    connection.transfers.push({ atMs: nowMs, bytes: forward + reverse });
    if (serverSocket !== undefined) {
      addReceived(serverSocket, forward);
      addSent(serverSocket, reverse - inFlight.reverse, this.#random);
    }
    if (clientSocket !== undefined) {
      addReceived(clientSocket, reverse);
      addSent(clientSocket, forward - inFlight.forward, this.#random);
    }
  }

  /** The acknowledgements arrive: both ends agree. */
  settle(connection: Connection): void {
    if (connection.clientSocket !== undefined && connection.inFlight.forward > 0)
      addSent(connection.clientSocket, connection.inFlight.forward, this.#random);
    if (connection.serverSocket !== undefined && connection.inFlight.reverse > 0)
      addSent(connection.serverSocket, connection.inFlight.reverse, this.#random);
    connection.inFlight = { forward: 0, reverse: 0 };
  }

  /** One end closes; the connection is gone when both have. */
  closeEnd(connection: Connection, role: Role, nowMs: number): void {
    this.settle(connection);
    const socket = role === Role.Client ? connection.clientSocket : connection.serverSocket;
    const host = role === Role.Client ? connection.client.host : connection.server.host;
    if (socket?.isOpen && host !== undefined) {
      socket.isOpen = false;
      socket.closedMs = nowMs;
      if (socket.startMs !== 0) socket.lifeNs = nsOf(nowMs) - nsOf(socket.startMs);
      host.sockets.delete(socket);
      host.emit(socket, KernelEventType.SocketClose, CloseReason.Closed, nowMs);
    }
    if (connection.clientSocket?.isOpen !== true && connection.serverSocket?.isOpen !== true)
      this.live.delete(connection);
  }

  #newConnection(client: Host, server: Host | undefined, port: number, nowMs: number, joinKey: bigint): Connection {
    this.#nextPort = this.#nextPort === 60999 ? 32768 : this.#nextPort + 1;
    return {
      client: { host: client, address: client.address, port: this.#nextPort },
      server: { host: server, address: server?.address ?? v4Mapped(192, 0, 2, 1 + (port % 200)), port },
      joinKey,
      openedMs: nowMs,
      clientSocket: undefined,
      serverSocket: undefined,
      forwardBytes: 0,
      reverseBytes: 0,
      inFlight: { forward: 0, reverse: 0 },
      transfers: [],
      isOdd: false,
    };
  }

  #begin(connection: Connection, nowMs: number): Connection {
    const { client, server } = connection;
    if (client.host !== undefined) connection.clientSocket = this.#open(connection, client.host, Role.Client, nowMs);
    if (server.host !== undefined) connection.serverSocket = this.#open(connection, server.host, Role.Server, nowMs);
    this.live.add(connection);
    this.connections.push(connection);
    return connection;
  }

  #open(connection: Connection, host: Host, role: Role, nowMs: number): Socket {
    const socket = newSocket(connection, host, role);
    if (host.observer !== undefined) {
      socket.startMs = nowMs;
      socket.handshakeUs = 50 + Number(socket.cookie % 1_000n);
    }
    host.sockets.add(socket);
    host.emit(socket, KernelEventType.SocketOpen, CloseReason.None, nowMs);
    return socket;
  }
}

function newSocket(connection: Connection, host: Host, role: Role): Socket {
  return {
    connection,
    cookie: host.newCookie(),
    role,
    isOpen: true,
    startMs: 0,
    closedMs: Infinity,
    sent: 0,
    received: 0,
    segmentsSent: 0,
    segmentsReceived: 0,
    retransmits: 0,
    outOfOrder: 0,
    handshakeUs: 0,
    lifeNs: 0,
    moved: false,
    adoptions: [],
  };
}

function addSent(socket: Socket, bytes: number, random: Random): void {
  if (bytes === 0) return;
  const retransmits = random.chance(0.05) ? 1 : 0;
  socket.sent += bytes;
  socket.segmentsSent += Math.ceil(bytes / SEGMENT_BYTES) + retransmits;
  socket.retransmits += retransmits;
  socket.moved = true;
}

function addReceived(socket: Socket, bytes: number): void {
  if (bytes === 0) return;
  socket.received += bytes;
  socket.segmentsReceived += Math.ceil(bytes / SEGMENT_BYTES);
  // One transfer in five; the others leave short sockets without tallies.
  if (bytes % 5 === 0) socket.outOfOrder += 1 + (bytes % 3);
  socket.moved = true;
}

function encode(
  socket: Socket,
  host: Host,
  type: KernelEventType,
  closeReason: CloseReason,
  nowMs: number,
): Uint8Array {
  const bytes = new Uint8Array(SOCKET_EVENT_SIZE);
  const { connection, role } = socket;
  const [local, remote] =
    role === Role.Client ? [connection.client, connection.server] : [connection.server, connection.client];
  const startMs = type === KernelEventType.ConnectFailed ? nowMs : socket.startMs;
  const event: SocketEvent = {
    type,
    size: SOCKET_EVENT_SIZE,
    cpu: 0,
    timeNs: BigInt(nsOf(nowMs)),
    cookie: socket.cookie,
    joinKey: connection.joinKey,
    startTimeNs: BigInt(nsOf(startMs)),
    ownerStartTimeNs: 1n,
    cgroupId: 1n,
    bytesSent: BigInt(socket.sent),
    bytesReceived: BigInt(socket.received),
    segmentsSent: socket.segmentsSent >>> 0,
    segmentsReceived: socket.segmentsReceived >>> 0,
    retransmits: socket.retransmits,
    srttUs: 200 + Number(socket.cookie % 50n),
    minRttUs: 150,
    netns: 1,
    ownerPid: role === Role.Client ? 100 : 200,
    ownerUid: 0,
    error: 0,
    localPort: local.port,
    remotePort: remote.port,
    ...evidenceOf(socket),
    closeReason,
    protocol: 6,
    ipVersion: 4,
    flags: 0,
    phase: ConnectionPhase.None,
    localAddress: local.address,
    remoteAddress: remote.address,
    ownerComm: padded(role === Role.Client ? 'client' : `server-${host.name}`),
    retransmitsFast: 0,
    retransmitsTimeout: 0,
    retransmitsSyn: 0,
    retransmitsProbe: 0,
    outOfOrder: socket.outOfOrder,
    zeroWindows: 0,
    handshakeUs: socket.handshakeUs,
    rttVariationUs: 0,
  };
  writeSocketEvent(new DataView(bytes.buffer), 0, event);
  return bytes;
}

/** Who did not see the handshake of an odd connection judges by the ports. */
function evidenceOf({ connection, role, startMs }: Socket): { role: Role; roleSource: RoleSource } {
  if (!connection.isOdd || startMs !== 0) return { role, roleSource: RoleSource.Kernel };
  return { role: role === Role.Client ? Role.Server : Role.Client, roleSource: RoleSource.Port };
}

function nsOf(ms: number): number {
  return Math.round(ms * 1e6);
}

function padded(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  new TextEncoder().encodeInto(text.slice(0, 15), bytes);
  return bytes;
}

function v4Mapped(...octets: [number, number, number, number]): Uint8Array {
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...octets]);
}
