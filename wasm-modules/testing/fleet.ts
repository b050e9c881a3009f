// Random owners and flows of a small fleet: few hosts, roles and zones, so that every level has rows to merge.
import { CloseReason } from '../../host/wire/gen/kernel-events-layout.ts';
import { TallySide } from '../../host/wire/gen/records-layout.ts';
import { TallyKind } from '../../host/wire/gen/wire-layout.ts';
import type { Random } from '../../schemas/testing/random.ts';
import type { FlowValues, TallyValues } from './naive-tree.ts';
import type { Owner, StageWorker } from './stage-worker.ts';

/** An end as the match side would name it: by its owner, or by an address of 16 bytes. */
export type End = Owner | { address: Uint8Array };

export interface Connection {
  client: End;
  server: End;
  serverPort: number;
  protocol: number;
  isOpen: boolean;
}

export interface Movement {
  connection: Connection;
  flow: FlowValues;
  tallies: TallyValues[];
}

const ZONES = ['', 'eu-1a', 'eu-1b', 'zürich'];
const PROGRAMS = ['nginx', 'postgres', 'curl', 'java', 'naïve-server'];

function randomEnd(random: Random): End {
  if (random.chance(0.2)) return { address: randomAddress(random) };
  const host = random.below(6);
  const owner: Owner = { host: `host-${host}`, zone: ZONES[host % ZONES.length] };
  const rung = random.below(4);
  if (rung < 2 && random.chance(0.8)) owner.executable = `/usr/bin/${random.pick(PROGRAMS)}`;
  if (rung === 0) {
    owner.container = random.below(12).toString(16).padStart(64, 'c0ffee');
    if (random.chance(0.5)) Object.assign(owner, { containerName: 'cart', image: random.pick(['cart:v1', 'cart:v2']) });
    if (random.chance(0.5)) Object.assign(owner, { podUid: 'u-1', podName: random.pick(['cart-0', 'cart-1']) });
  }
  if (rung === 1) owner.unit = `${random.pick(PROGRAMS)}.service`;
  else if (rung === 2) owner.executable = `/usr/bin/${random.pick(PROGRAMS)}`;
  return owner;
}

/** IPv4 in private and public ranges. */
function randomAddress(random: Random): Uint8Array {
  const first = random.pick([10, 10, 93]);
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, first, 0, 0, random.below(8)]);
}

export function randomConnections(random: Random, count: number): Connection[] {
  return Array.from({ length: count }, () => ({
    client: randomEnd(random),
    server: randomEnd(random),
    serverPort: random.pick([80, 443, 5432, 53]),
    protocol: random.pick([6, 6, 17]),
    isOpen: false,
  }));
}

/** What some of the connections did in `window`. */
export function randomMovements(random: Random, connections: Connection[], window: number): Movement[] {
  const moved = connections.filter(() => random.chance(0.5));
  return moved.map((connection) => ({
    connection,
    flow: randomFlow(random, connection, window),
    tallies: random.chance(0.4) ? Array.from({ length: 1 + random.below(12) }, () => randomTally(random)) : [],
  }));
}

const COUNTING = [TallyKind.Retransmit, TallyKind.ZeroWindow, TallyKind.Drop, TallyKind.DnsTimeout];
const SAMPLING = [TallyKind.HandshakeServer, TallyKind.Duration, TallyKind.DnsLookup];
/** Some begin alike, one is longer than a label may be, and one is not ASCII. */
const LABELS = [
  '',
  '',
  'a',
  'aa',
  'a.example',
  'a.example.org',
  'b.example',
  'zürich.example',
  `${'x'.repeat(300)}.org`,
];

function randomTally(random: Random): TallyValues {
  const isSampling = random.chance(0.4);
  const count = BigInt(1 + random.below(1000));
  return {
    kind: random.pick(isSampling ? SAMPLING : COUNTING),
    side: random.pick([TallySide.Client, TallySide.Server]),
    code: random.chance(0.1) ? random.uint32() : random.below(3),
    label: random.chance(0.2) ? `host-${random.below(40)}.example` : random.pick(LABELS),
    count,
    sum: isSampling ? count * BigInt(1 + random.below(2 ** random.below(31))) : 0n,
  };
}

function randomFlow(random: Random, connection: Connection, window: number): FlowValues {
  const wasOpen = connection.isOpen;
  connection.isOpen = random.chance(0.6);
  const isLate = random.chance(0.1);
  const reason = random.chance(0.2) ? random.pick([...REASONS]) : CloseReason.None;
  return {
    fromWindow: isLate ? window - 1 - random.below(3) : window,
    forwardBytes: BigInt(random.uint32()) * BigInt(random.below(1000)),
    reverseBytes: BigInt(random.uint32()),
    forwardPackets: BigInt(random.below(100000)),
    reversePackets: BigInt(random.below(100000)),
    forwardRetransmits: BigInt(random.below(10)),
    reverseRetransmits: BigInt(random.below(10)),
    residualBytes: BigInt(random.below(1000)),
    judgedBytes: BigInt(random.uint32()),
    lateBytes: isLate ? BigInt(random.below(5000)) : 0n,
    rttUs: random.chance(0.6) ? random.below(2 ** random.below(31)) : 0,
    connections: wasOpen ? 0 : 1,
    closed: connection.isOpen ? 0 : 1,
    activeDelta: Number(connection.isOpen) - Number(wasOpen),
    reason,
    resetBy: reason === CloseReason.ResetSent ? 1 : reason === CloseReason.ResetReceived ? 2 : 0,
    match: random.below(4),
    reasonCount: reason === CloseReason.None ? 0 : 1 + random.below(3),
    clientBytesSent: BigInt(random.uint32()) * BigInt(random.below(1000)),
    clientBytesReceived: BigInt(random.uint32()) * BigInt(random.below(1000)),
    clientPacketsSent: BigInt(random.uint32()),
    clientPacketsReceived: BigInt(random.uint32()),
    serverBytesSent: BigInt(random.uint32()) * BigInt(random.below(1000)),
    serverBytesReceived: BigInt(random.uint32()) * BigInt(random.below(1000)),
    serverPacketsSent: BigInt(random.uint32()),
    serverPacketsReceived: BigInt(random.uint32()),
  };
}

const REASONS = [
  CloseReason.ResetSent,
  CloseReason.ResetReceived,
  CloseReason.ConnectRefused,
  CloseReason.ConnectTimedOut,
  CloseReason.ConnectAbandoned,
  CloseReason.ConnectUnreachable,
  CloseReason.ConnectOther,
] as const;

export function nodeOfEnd(worker: StageWorker, end: End): number {
  return 'address' in end ? worker.nodeOfAddress(end.address) : worker.nodeOf(end);
}

export function edgeOf(worker: StageWorker, { client, server, serverPort, protocol }: Connection): number {
  return worker.call('edgeOf', nodeOfEnd(worker, client), nodeOfEnd(worker, server), serverPort, protocol);
}

export function shuffle<Item>(random: Random, items: Item[]): Item[] {
  const shuffled = [...items];
  for (let index = shuffled.length - 1; index > 0; index--) {
    const other = random.below(index + 1);
    [shuffled[index], shuffled[other]] = [shuffled[other], shuffled[index]];
  }
  return shuffled;
}
