// What the sockets of a planned connection are, and their totals at the end of each window of its life.
import { CloseReason, RetransmitKind, Role, RoleSource } from '../../host/wire/gen/kernel-events-layout.ts';
import { type Open, type Tally, TallyKind, type Totals } from '../../host/wire/gen/wire-layout.ts';
import { Random } from '../../schemas/testing/random.ts';
import { ipv4, open, tally, totals } from '../../wasm-modules/testing/agent-frames.ts';
import { type ConnectionPlan, type FleetPlan, HOSTS_MAX, type HostPlan } from './plan.ts';
import { FIRST_WINDOW, WINDOW_NS } from './script.ts';

/** The configured address space of every host. */
export const SPACE = 1;
export const PROCESSES = 4;
export const LABELS = 3;

export interface End {
  plan: ConnectionPlan;
  host: number;
  open: Open;
  /** By window since the opening. */
  views: Totals[];
  /** By window since the opening, without the handle. */
  tallies: Tally[][];
  reason: number;
  phase: number;
  error: number;
  endTimeNs: bigint;
  handshakeUs: number;
  /** It is told as settled, if it is told at all. */
  isSettled: boolean;
}

const TCP = 6;
const UDP = 17;
const ECONNREFUSED = 111;

/** Reasons of the client's and the server's end. */
const ENDINGS = [
  [CloseReason.Closed, CloseReason.Closed],
  [CloseReason.Closed, CloseReason.Closed],
  [CloseReason.ResetSent, CloseReason.ResetReceived],
  [CloseReason.ResetReceived, CloseReason.ResetSent],
  [CloseReason.TimedOut, CloseReason.TimedOut],
] as const;
const FAILURES = [
  CloseReason.ConnectRefused,
  CloseReason.ConnectTimedOut,
  CloseReason.ConnectAbandoned,
  CloseReason.ConnectUnreachable,
  CloseReason.ConnectOther,
] as const;

/** The ends of a connection on hosts of the fleet: none, one or two. */
export function makeEnds(plan: ConnectionPlan, { hosts, windows }: FleetPlan): End[] {
  const random = new Random(plan.seed);
  const isUdp = plan.kind === 'udp';
  const isFailed = plan.kind === 'failed';
  const [clientReason, serverReason] = isUdp ? ENDINGS[0] : random.pick(ENDINGS);
  const failure = random.pick(FAILURES);
  const [clientOpen, serverOpen] = makeOpens(plan, random);
  const lived = Math.min(plan.closing, windows) - plan.opening + 1;
  const views = isFailed ? failedViews(random) : makeViews(random, lived, isUdp);
  const isReset = clientReason === CloseReason.ResetSent || clientReason === CloseReason.ResetReceived;
  const settledSide = plan.kind === 'settled' ? random.below(2) : -1;
  const ends = ([0, 1] as const).map((side): End => {
    const reason = isFailed ? failure : side === 0 ? clientReason : serverReason;
    return {
      ...{ plan, reason, open: side === 0 ? clientOpen : serverOpen, views: views[side] },
      isSettled: side === settledSide,
      host: side === 0 ? plan.client : plan.server,
      tallies: views[side].map(() => (isFailed || random.chance(0.7) ? [] : makeTallies(random, isUdp))),
      phase: isReset && !isFailed ? random.below(4) : 0,
      error: isFailed ? random.pick([ECONNREFUSED, 110, 113]) : 0,
      endTimeNs: BigInt(FIRST_WINDOW + plan.closing) * WINDOW_NS + BigInt(5_000_000_000 + random.below(1_000_000_000)),
      handshakeUs: isUdp || isFailed || random.chance(0.5) ? 0 : 1 + random.below(100_000),
    };
  });
  if (isRivalrous(plan, hosts)) ends.push(rivalOf(ends[0], plan));
  return ends.filter(({ host }, side) => hosts.some(({ index }) => index === host) && !(isFailed && side === 1));
}

/** The client's end is told before any other can claim its side. */
function isRivalrous({ client, opening, closing, rival }: ConnectionPlan, hosts: readonly HostPlan[]): boolean {
  const life = hosts.find(({ index }) => index === client)?.lives[0];
  const isPunctual = life?.from === 0 && life.ending === 'stays' && !life.delays.some((delay) => delay > 0);
  return (
    isPunctual && !life.isCoalesced.includes(true) && rival !== client && rival >= 0 && closing > Math.max(opening, 0)
  );
}

/** Another socket of another host that says the same of itself, from the next window on. */
function rivalOf(end: End, plan: ConnectionPlan): End {
  const open = { ...end.open, cookie: end.open.cookie + 7n, localAddress: addressOf(plan.rival, 4) };
  const rival = { ...plan, opening: Math.max(plan.opening, 0) + 1 };
  return {
    ...end,
    plan: rival,
    host: plan.rival,
    open,
    views: end.views.slice(rival.opening - plan.opening),
    tallies: end.tallies.slice(rival.opening - plan.opening),
  };
}

/** Translation in between: each end sees an address of the other that no host has. */
function makeOpens({ kind, client, server, opening }: ConnectionPlan, random: Random): [Open, Open] {
  const version = random.pick([4, 4, 6] as const);
  const joinKey = ['tcp', 'translated', 'settled'].includes(kind) ? (BigInt(random.uint32()) << 32n) | 1n : 0n;
  // With a key the same ports serve several connections, at once and one after the other.
  const clientPort = 10_000 + random.below(joinKey === 0n ? 50_000 : 2);
  const serverPort = random.pick([80, 443, 5432]);
  const [atClient, atServer] = [addressOf(client, version), addressOf(server, version)];
  const isTranslated = kind === 'translated';
  const cookie = BigInt(random.uint32()) << 4n;
  const startTimeNs = random.chance(0.2)
    ? 0n
    : BigInt(FIRST_WINDOW + opening) * WINDOW_NS + BigInt(random.below(5_000_000_000));
  const common = {
    ...{ joinKey, startTimeNs, ipVersion: version, addressSpace: SPACE },
    protocol: kind === 'udp' ? UDP : TCP,
    roleSource: kind === 'udp' ? random.pick([RoleSource.FirstDatagram, RoleSource.Listener]) : RoleSource.Kernel,
  };
  return [
    open({
      ...{ ...common, role: Role.Client, cookie: cookie + 1n, process: random.below(PROCESSES + 1) },
      ...{ localAddress: atClient, localPort: clientPort },
      remoteAddress: isTranslated ? addressOf(TRANSLATED, version) : atServer,
      remotePort: isTranslated ? 8080 : serverPort,
    }),
    open({
      ...{ ...common, role: Role.Server, cookie: cookie + 2n, process: random.below(PROCESSES + 1) },
      ...{ localAddress: atServer, localPort: serverPort },
      remoteAddress: isTranslated ? addressOf(TRANSLATED + 1, version) : atClient,
      remotePort: isTranslated ? clientPort ^ 1 : clientPort,
    }),
  ];
}

const TRANSLATED = 100;

/** Of a host; beyond those, one private and one public address where no agent looks; and what translation makes of them. */
export function addressOf(host: number, version: 4 | 6): Uint8Array {
  const isPublic = host >= HOSTS_MAX && (host & 1) === 1 && host < TRANSLATED;
  if (version === 4) return isPublic ? ipv4(8, 8, 8, 8) : ipv4(10, 0, 0, host + 1);
  const address = new Uint8Array(16);
  address.set(isPublic ? [0x20, 0x01, 0x0d, 0xb8] : [0xfd]);
  address[15] = host + 1;
  return address;
}

function failedViews(random: Random): [Totals[], Totals[]] {
  return [[totals({ retransmits: BigInt(random.below(4)) })], [totals()]];
}

const GROWTH = { forward: 10_000, reverse: 100_000, forwardSegments: 20, reverseSegments: 100 };
type Grown = Record<keyof typeof GROWTH, number>;
const FIELDS = Object.keys(GROWTH) as (keyof Grown)[];

/** Totals of both ends by window: each sees at most one window's growth less than there is, and most of it all at the end. */
function makeViews(random: Random, windows: number, isUdp: boolean): [Totals[], Totals[]] {
  const truth: Grown = { forward: 0, reverse: 0, forwardSegments: 0, reverseSegments: 0 };
  const retransmits = [0, 0];
  const minRtts = [100 + random.below(1000), 100 + random.below(1000)];
  const views: [Totals[], Totals[]] = [[], []];
  const isLossy = random.chance(0.2);
  for (let index = 0; index < windows; index++) {
    const isIdle = random.chance(0.3);
    const grown = { ...truth };
    for (const name of FIELDS) {
      grown[name] = isIdle ? 0 : random.below(GROWTH[name]);
      truth[name] += grown[name];
    }
    const isLast = index === windows - 1 && !isLossy;
    for (const side of [0, 1] as const) {
      const seen = (name: keyof Grown): bigint =>
        BigInt(truth[name] - (isLast || random.chance(0.7) ? 0 : random.below(grown[name] + 1)));
      if (random.chance(0.2)) retransmits[side] += random.below(3);
      if (random.chance(0.1)) minRtts[side] = Math.max(1, minRtts[side] - random.below(50));
      views[side].push({
        bytesSent: seen(side === 0 ? 'forward' : 'reverse'),
        bytesReceived: seen(side === 0 ? 'reverse' : 'forward'),
        segmentsSent: seen(side === 0 ? 'forwardSegments' : 'reverseSegments'),
        segmentsReceived: seen(side === 0 ? 'reverseSegments' : 'forwardSegments'),
        retransmits: isUdp ? 0n : BigInt(retransmits[side]),
        srttUs: isUdp || random.chance(0.2) ? 0 : minRtts[side] + random.below(500),
        minRttUs: isUdp ? 0 : minRtts[side],
      });
    }
  }
  return views;
}

/** Beside its totals: some of what a socket or a host counts, samples and names. */
export function makeTallies(random: Random, isUdp: boolean): Tally[] {
  const samples = (most: number): { count: bigint; sum: bigint } => {
    const count = 1 + random.below(3);
    return { count: BigInt(count), sum: BigInt(count * (1 + random.below(most))) };
  };
  const label = random.below(LABELS + 1);
  const kinds = [
    () => tally(TallyKind.Drop, { code: random.below(3), label, count: BigInt(1 + random.below(9)) }),
    () => tally(TallyKind.DnsLookup, { code: 1 << 16, label, ...samples(50_000_000) }),
    () => tally(TallyKind.DnsTimeout, { code: 28 << 16, label }),
    () => tally(TallyKind.DatagramDrop, { count: BigInt(1 + random.below(9)) }),
    () => tally(TallyKind.Retransmit, { code: random.pick([RetransmitKind.Fast, RetransmitKind.Timeout]) }),
    () => tally(TallyKind.ZeroWindow),
    () => tally(TallyKind.OutOfOrder, { count: BigInt(1 + random.below(9)) }),
    () => tally(TallyKind.RttVariation, samples(1_000_000)),
    () => tally(TallyKind.HandshakeServer, samples(100_000_000)),
  ];
  const count = 1 + random.below(3);
  return Array.from({ length: count }, () => random.pick(isUdp ? kinds.slice(0, 4) : kinds)());
}
