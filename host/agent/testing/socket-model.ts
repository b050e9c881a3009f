// What a kernel might say of its sockets, and the truth beside it. Seeded: a seed is a history. Events are repeated, come late, come in the
// wrong order or not at all, as far as scans and a full ring can do that.
import {
  CloseReason,
  KernelEventType,
  RetransmitKind,
  Role,
  RoleSource,
  type SocketEvent,
  SocketFlag,
} from '../../wire/gen/kernel-events-layout.ts';
import { TallyKind } from '../../wire/gen/wire-layout.ts';
import { encodeEvents, ipv4 } from './kernel-event.ts';

export const FIELDS = ['bytesSent', 'bytesReceived', 'segmentsSent', 'segmentsReceived', 'retransmits'] as const;
export type Sums = Record<(typeof FIELDS)[number], bigint>;

/** Running totals that are told as tallies. */
const HEALTH = {
  retransmitsFast: [TallyKind.Retransmit, RetransmitKind.Fast],
  retransmitsTimeout: [TallyKind.Retransmit, RetransmitKind.Timeout],
  retransmitsSyn: [TallyKind.Retransmit, RetransmitKind.Syn],
  retransmitsProbe: [TallyKind.Retransmit, RetransmitKind.TailLossProbe],
  outOfOrder: [TallyKind.OutOfOrder, 0],
  zeroWindows: [TallyKind.ZeroWindow, 0],
} as const;
type Health = Record<keyof typeof HEALTH, number>;

export interface Truth extends Sums {
  connections: number;
  failures: Map<number, number>;
  /** Count and sum by `tallyKey`. */
  tallies: Map<string, { count: bigint; sum: bigint }>;
}

export function tallyKey(kind: number, code: number): string {
  return `${kind}/${code}`;
}

export function addTally(tallies: Truth['tallies'], key: string, count: bigint, sum: bigint): void {
  if (count === 0n) return;
  const before = tallies.get(key) ?? { count: 0n, sum: 0n };
  tallies.set(key, { count: before.count + count, sum: before.sum + sum });
}

interface Socket extends Sums, Health {
  /** Of one connection; a socket may have several, one after another. */
  id: bigint;
  cookie: bigint;
  adoptedAt: Sums | undefined;
  startNs: bigint;
  handshakeUs: number;
  srttUs: number;
  minRttUs: number;
  role: Role;
  port: number;
  owner: number;
  netns: number;
  loopback: boolean;
  hasMoved: boolean;
}

export function zeroSums(): Sums {
  return { bytesSent: 0n, bytesReceived: 0n, segmentsSent: 0n, segmentsReceived: 0n, retransmits: 0n };
}

/** Adds `factor` times `part` to `sums`. */
export function addSums(sums: Sums, part: Sums, factor = 1n): void {
  for (const field of FIELDS) sums[field] += factor * part[field];
}

/** What a client's and a server's handshake are counted as, and nobody else's. */
function countHandshake({ tallies }: Truth, { role, handshakeUs }: Socket): void {
  if (handshakeUs === 0 || role === Role.Unknown) return;
  const kind = role === Role.Client ? TallyKind.HandshakeServer : TallyKind.HandshakeClient;
  addTally(tallies, tallyKey(kind, 0), 1n, BigInt(handshakeUs) * 1000n);
}

export class SocketModel {
  readonly #random: () => number;
  readonly live: Socket[] = [];
  readonly truth: Truth = { ...zeroSums(), connections: 0, failures: new Map(), tallies: new Map() };
  #events: Uint8Array[] = [];
  #stale: Uint8Array[] = [];
  #nextId = 1n;
  /** A socket that closed, or failed to connect, and is still held: its next connection has the same cookie. */
  #reusable: bigint | undefined;
  #timeNs = 1_000_000_000n;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Everything said since the last call. */
  take(): Uint8Array {
    const events = Buffer.concat(this.#events);
    this.#events = [];
    return events;
  }

  /** One thing happens. */
  step(): void {
    const dice = this.#random();
    if (dice < 0.2) this.open();
    else if (dice < 0.23) this.fail();
    else if (dice < 0.25) this.adopt();
    else if (dice < 0.7) this.move();
    else if (dice < 0.9) this.close();
    else if (dice < 0.95) this.repeat();
    else this.pass();
  }

  open(): void {
    const socket = this.#create(undefined, this.#chance(0.1) ? this.#reusable : undefined);
    this.truth.connections++;
    countHandshake(this.truth, socket);
    const order = this.#random();
    if (order < 0.05) this.#tell(socket, KernelEventType.SocketOwner);
    else if (order < 0.1) this.#tell(socket, KernelEventType.SocketTotals);
    // The ring had no room for one opening in twenty; those sockets move before the end.
    if (order >= 0.1 && order < 0.15) socket.hasMoved = true;
    else this.#tell(socket, KernelEventType.SocketOpen);
    if (this.#chance(0.3)) {
      socket.owner++;
      this.#tell(socket, KernelEventType.SocketOwner);
    }
  }

  /** A connection that is older than the agent, with a counter of segments that is about to wrap. */
  adopt(): void {
    const history: Sums = {
      bytesSent: this.#below(5e9),
      bytesReceived: this.#below(5e9),
      segmentsSent: 0xffff_fff0n,
      segmentsReceived: this.#below(1e6),
      retransmits: this.#below(100),
    };
    this.#tell(this.#create(history), KernelEventType.SocketAdopted);
  }

  fail(): void {
    const socket = this.#create(undefined, this.#chance(0.3) ? this.#reusable : undefined);
    this.live.pop();
    this.#reusable = socket.cookie;
    const reason = (CloseReason.ConnectRefused + Math.floor(this.#random() * 5)) as CloseReason;
    this.truth.failures.set(reason, (this.truth.failures.get(reason) ?? 0) + 1);
    this.#tell(socket, KernelEventType.ConnectFailed, reason);
  }

  move(): void {
    const socket = this.#pick();
    if (socket === undefined) return;
    const moved: Sums = {
      bytesSent: this.#below(this.#chance(0.05) ? 6e9 : 1e5),
      bytesReceived: this.#below(1e5),
      segmentsSent: this.#below(this.#chance(0.05) ? 1e5 : 100),
      segmentsReceived: this.#below(100),
      retransmits: this.#chance(0.1) ? this.#below(5) : 0n,
    };
    addSums(socket, moved);
    addSums(this.truth, moved);
    if (this.#chance(0.2)) this.#suffer(socket);
    socket.srttUs = 1 + Math.floor(this.#random() * 1000);
    socket.minRttUs = Math.min(socket.minRttUs || 1e6, socket.srttUs);
    socket.hasMoved = true;
  }

  #suffer(socket: Socket): void {
    for (const [field, [kind, code]] of Object.entries(HEALTH) as [keyof Health, readonly [number, number]][]) {
      const moved = this.#chance(0.3) ? this.#below(10) : 0n;
      socket[field] += Number(moved);
      addTally(this.truth.tallies, tallyKey(kind, code), moved, 0n);
    }
  }

  close(): void {
    const socket = this.#pick();
    if (socket === undefined) return;
    this.live.splice(this.live.indexOf(socket), 1);
    const reason = this.#chance(0.2) ? CloseReason.ResetReceived : CloseReason.Closed;
    this.#tell(socket, KernelEventType.SocketClose, reason);
    if (socket.adoptedAt === undefined) {
      addTally(this.truth.tallies, tallyKey(TallyKind.Duration, reason), 1n, this.#timeNs - socket.startNs);
    }
    this.#reusable = socket.cookie;
    if (this.#chance(0.1)) this.#tell(socket, KernelEventType.SocketOwner);
  }

  /** The scan of totals. */
  pass(): void {
    for (const socket of this.live) {
      if (socket.hasMoved) this.#tell(socket, KernelEventType.SocketTotals);
    }
  }

  /** A live socket's opening again, or something that was true a while ago. */
  repeat(): void {
    const socket = this.#pick();
    if (socket === undefined) return;
    const type = socket.adoptedAt === undefined ? KernelEventType.SocketOpen : KernelEventType.SocketAdopted;
    if (this.#chance(0.5)) this.#tell(socket, type);
    else if (this.#stale.length > 0) this.#events.push(this.#stale[Math.floor(this.#random() * this.#stale.length)]);
  }

  #create(history: Sums | undefined, reused?: bigint): Socket {
    const id = this.#nextId++;
    const cookie = reused ?? id;
    this.#reusable = undefined;
    this.#timeNs += 1_000n;
    const socket: Socket = {
      ...(history ?? zeroSums()),
      retransmitsFast: history === undefined ? 0 : 0xffff_fff0,
      retransmitsTimeout: 0,
      retransmitsSyn: 0,
      retransmitsProbe: 0,
      outOfOrder: history === undefined ? 0 : 1000,
      zeroWindows: 0,
      id,
      cookie,
      adoptedAt: history,
      startNs: history === undefined ? this.#timeNs : 0n,
      handshakeUs: history === undefined && this.#chance(0.8) ? 1 + Math.floor(this.#random() * 1e5) : 0,
      srttUs: 0,
      minRttUs: 0,
      role: Math.floor(this.#random() * 3) as Role,
      port: 1 + Math.floor(this.#random() * 4),
      owner: Math.floor(this.#random() * 10),
      netns: 1 + Math.floor(this.#random() * 3),
      loopback: this.#chance(0.3),
      hasMoved: false,
    };
    this.live.push(socket);
    return socket;
  }

  #tell(socket: Socket, type: KernelEventType, closeReason: CloseReason = CloseReason.None): void {
    const bytes = encodeEvents(this.#describe(socket, type, closeReason));
    this.#events.push(bytes);
    if (type !== KernelEventType.SocketOwner) socket.hasMoved = false;
    // What the kernel said of a connection does not come again after its close.
    const isLive = this.live.includes(socket);
    if (type === KernelEventType.SocketTotals && isLive && this.#chance(0.1)) this.#stale.push(bytes);
    if (!isLive)
      this.#stale = this.#stale.filter((event) => new DataView(event.buffer).getBigUint64(16, true) !== socket.cookie);
  }

  #describe(socket: Socket, type: KernelEventType, closeReason: CloseReason): Partial<SocketEvent> {
    this.#timeNs += 1_000n;
    const { cookie, bytesSent, bytesReceived, srttUs, minRttUs, role, port, owner, netns, handshakeUs } = socket;
    const address = socket.loopback ? ipv4(127, 0, 0, 1) : ipv4(10, 0, 0, 1);
    return {
      ...{ type, closeReason, cookie, bytesSent, bytesReceived, srttUs, minRttUs, netns, role, handshakeUs },
      timeNs: this.#timeNs,
      joinKey: type === KernelEventType.ConnectFailed ? 0n : socket.id * 0x9e37_79b9n,
      startTimeNs: socket.startNs,
      ownerStartTimeNs: BigInt(owner) * 1_000n,
      segmentsSent: Number(socket.segmentsSent & 0xffff_ffffn),
      segmentsReceived: Number(socket.segmentsReceived & 0xffff_ffffn),
      retransmits: Number(socket.retransmits),
      ...Object.fromEntries(Object.keys(HEALTH).map((field) => [field, socket[field as keyof Health] >>> 0])),
      ownerPid: owner,
      remotePort: port,
      roleSource: role === Role.Unknown ? RoleSource.None : RoleSource.Kernel,
      flags: SocketFlag.OwnerProvisional,
      localAddress: address,
      remoteAddress: address,
    };
  }

  #pick(): Socket | undefined {
    return this.live[Math.floor(this.#random() * this.live.length)];
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #below(limit: number): bigint {
    return BigInt(Math.floor(this.#random() * limit));
  }
}
