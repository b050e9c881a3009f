// What the agents of a planned fleet say, window by window, and when a reducer hears it.
import { CloseReason, Role, RoleSource } from '../../host/wire/gen/kernel-events-layout.ts';
import { BaselineKind, type Open, OpenFlags, type Totals } from '../../host/wire/gen/wire-layout.ts';
import type { Process } from '../../host/wire/gen/wire-tables.ts';
import { Random } from '../../schemas/testing/random.ts';
import { ipv4, open, process, totals } from '../../wasm-modules/testing/agent-frames.ts';
import type { ConnectionPlan, FleetPlan, HostPlan, Life } from './plan.ts';
import { FIRST_WINDOW, type Frame, type Session, type Step } from './script.ts';

const SPACE = 1;
/** One less than a reducer bears. */
const SILENT_WINDOWS_MAX = 2;

/** One end of a planned connection: what its socket is and its totals at the end of each window of its life. */
interface End {
  plan: ConnectionPlan;
  host: number;
  open: Open;
  views: Totals[];
  reason: number;
  phase: number;
}

/** What an agent process has told on its channel. */
interface Teller {
  session: Session;
  life: Life;
  random: Random;
  nextHandle: number;
  told: Map<End, { handle: number; totals: Totals }>;
  /** Told, and not yet heard. */
  pending: { window: number; hearing: number; frames: Frame[] }[];
  silentWindows: number;
  isCut: boolean;
}

export function generateScript(plan: FleetPlan): Step[] {
  const ends = plan.connections.flatMap((connection) => makeEnds(connection, plan));
  const steps: Step[] = [];
  const tellers = plan.hosts.flatMap((host) => host.lives.map((life, index) => makeTeller(host, life, index)));
  for (let window = 0; window < plan.windows; window++) {
    for (const teller of tellers) {
      const host = plan.hosts.find(({ index }) => index === teller.session.agent - 1);
      if (host === undefined) continue;
      runTeller(teller, host, ends, window, steps);
    }
    steps.push({ step: 'close', window: FIRST_WINDOW + window });
  }
  return steps;
}

function makeTeller(host: HostPlan, life: Life, index: number): Teller {
  const session = {
    session: BigInt(host.index * 100 + index + 1),
    agent: host.index + 1,
    zone: host.zone,
    firstWindow: FIRST_WINDOW + life.from,
  };
  const random = new Random(host.seed + index);
  return { session, life, random, nextHandle: 1, told: new Map(), pending: [], silentWindows: 0, isCut: false };
}

function runTeller(teller: Teller, host: HostPlan, ends: readonly End[], window: number, steps: Step[]): void {
  const { life, session } = teller;
  if (window < life.from) return;
  if (window === life.from) steps.push({ step: 'connect', session, repeats: 0 });
  if (window <= life.to) {
    const earlier = teller.pending.at(-1)?.hearing ?? 0;
    const hearing = life.ending === 'stays' ? window + life.delays[window] : window;
    const frames = [...(window === life.from ? snapshot(teller, host, ends) : []), ...tellWindow(teller, ends, window)];
    teller.pending.push({ window, hearing: Math.max(hearing, earlier), frames });
  }
  const heard = teller.pending.filter(({ hearing }) => hearing === window);
  const repeats = life.cuts.get(window);
  if (heard.length === 0) teller.silentWindows++;
  // A reducer leaves an agent of whom nothing comes for three windows.
  if (!teller.isCut && (repeats !== undefined || teller.silentWindows === SILENT_WINDOWS_MAX)) {
    steps.push({ step: 'cut', session });
    teller.isCut = true;
  }
  if (heard.length > 0) {
    if (teller.isCut) steps.push({ step: 'connect', session, repeats: repeats ?? 0 });
    teller.isCut = false;
    teller.silentWindows = 0;
  }
  for (const { frames } of heard) steps.push({ step: 'tell', session, frames });
  if (window === life.to && life.ending !== 'stays')
    steps.push({ step: life.ending === 'killed' ? 'cut' : 'goodbye', session });
}

function snapshot(teller: Teller, host: HostPlan, ends: readonly End[]): Frame[] {
  const window = FIRST_WINDOW + teller.life.from;
  const hostAddresses = [addressOf(host.index, 4), addressOf(host.index, 6)].map((address) => ({
    address,
    addressSpace: SPACE,
  }));
  const frames: Frame[] = [
    { kind: 'snapshotBegin', window },
    {
      kind: 'announce',
      announce: { addressSpaces: [{ handle: SPACE, name: 'default' }], processes: processesOf(host) },
    },
  ];
  if (host.tellsAddresses) frames.push({ kind: 'announce', announce: { hostAddresses } });
  for (const end of ends) {
    const { opening, closing } = end.plan;
    if (end.host !== host.index || opening >= teller.life.from || closing < teller.life.from) continue;
    const handle = teller.nextHandle++;
    const before = end.views[teller.life.from - 1 - opening];
    teller.told.set(end, { handle, totals: before });
    frames.push({ kind: 'open', items: [{ ...end.open, handle, flags: OpenFlags.Existing }] });
    frames.push({ kind: 'baseline', items: [{ handle, kind: BaselineKind.Adopted, totals: before }] });
  }
  frames.push({ kind: 'snapshotEnd', window });
  return frames;
}

function tellWindow(teller: Teller, ends: readonly End[], window: number): Frame[] {
  const { told, random } = teller;
  const [opens, onces, updates, closes]: Frame[][] = [[], [], [], []];
  for (const end of ends) {
    const { opening, closing } = end.plan;
    if (end.host !== teller.session.agent - 1 || window < opening || window > closing) continue;
    if (opening < window && !told.has(end)) continue;
    const now = end.views[window - opening];
    if (opening === window && closing === window) {
      const { reason, phase } = end;
      onces.push({
        kind: 'once',
        items: [{ open: end.open, totals: now, endTimeNs: 0n, reason, phase, error: 0, handshakeUs: 0 }],
      });
      continue;
    }
    if (opening === window) {
      const handle = teller.nextHandle++;
      told.set(end, { handle, totals: totals() });
      opens.push({ kind: 'open', items: [{ ...end.open, handle }] });
    }
    const known = told.get(end);
    if (known === undefined) continue;
    if (closing === window) {
      const { handle } = known;
      closes.push({
        kind: 'close',
        items: [{ handle, reason: end.reason, phase: end.phase, error: 0, endTimeNs: 0n, totals: now }],
      });
      told.delete(end);
    } else if (hasMoved(known.totals, now)) {
      updates.push(updateOf(known, now, random));
      known.totals = now;
    }
  }
  const at = FIRST_WINDOW + window;
  return [...opens, ...onces, ...updates, ...closes, { kind: 'windowEnd', window: at, fromWindow: at }];
}

function updateOf({ handle, totals: before }: { handle: number; totals: Totals }, now: Totals, random: Random): Frame {
  const isNarrow = before.minRttUs === now.minRttUs && random.chance(0.7);
  if (!isNarrow) return { kind: 'wide', items: [{ handle, totals: now }] };
  const item = {
    handle,
    bytesSent: Number(now.bytesSent - before.bytesSent),
    bytesReceived: Number(now.bytesReceived - before.bytesReceived),
    srttUs: now.srttUs,
    segmentsSent: Number(now.segmentsSent - before.segmentsSent),
    segmentsReceived: Number(now.segmentsReceived - before.segmentsReceived),
    retransmits: Number(now.retransmits - before.retransmits),
  };
  return { kind: 'narrow', items: [item] };
}

function hasMoved(before: Totals, now: Totals): boolean {
  return before.bytesSent !== now.bytesSent || before.bytesReceived !== now.bytesReceived;
}

function processesOf(host: HostPlan): Process[] {
  const unit = (handle: number, name: string, executable: string) =>
    process(handle, { comm: executable, executable: `/usr/bin/${executable}`, unit: name });
  return [
    process(1, { comm: 'curl', executable: '/usr/bin/curl' }),
    unit(2, 'web.service', 'nginx'),
    unit(3, 'web.service', 'php-fpm'),
    process(4, {
      executable: '/bin/postgres',
      containerId: Buffer.alloc(32, host.index + 1).toString('hex'),
      containerRuntime: 'docker',
      containerName: 'db',
      image: 'postgres:16',
    }),
  ];
}

/** The hosts' addresses; beyond them one private and one public, where no agent looks. */
function addressOf(host: number, version: number, hosts = 8): Uint8Array {
  const isPublic = host === hosts + 1;
  if (version === 4) return isPublic ? ipv4(8, 8, 8, 8) : ipv4(10, 0, 0, host + 1);
  const address = new Uint8Array(16);
  address.set(isPublic ? [0x20, 0x01, 0x0d, 0xb8] : [0xfd, 0, 0, 0]);
  address[15] = host + 1;
  return address;
}

function makeEnds(plan: ConnectionPlan, { hosts, windows }: FleetPlan): End[] {
  const random = new Random(plan.seed);
  const isWatched = (host: number): boolean => hosts.some(({ index }) => index === host);
  const place = (host: number): number => (isWatched(host) || host < 8 ? host : 8 + (host & 1));
  const version = random.pick([4, 4, 6]);
  const joinKey = random.chance(0.9) ? (BigInt(random.uint32()) << 32n) | BigInt(random.uint32() | 1) : 0n;
  const [clientPort, serverPort] = [32768 + random.below(28000), random.pick([80, 443, 5432])];
  const [clientAddress, serverAddress] = [
    addressOf(place(plan.client), version),
    addressOf(place(plan.server), version),
  ];
  const common = { joinKey, protocol: 6, ipVersion: version, addressSpace: SPACE, roleSource: RoleSource.Kernel };
  const cookie = BigInt(random.uint32()) << 4n;
  const windowsLived = Math.min(plan.closing, windows) - plan.opening + 1;
  const [clientViews, serverViews] = makeViews(random, windowsLived);
  const [clientReason, serverReason] = random.pick([
    [CloseReason.Closed, CloseReason.Closed],
    [CloseReason.Closed, CloseReason.Closed],
    [CloseReason.ResetSent, CloseReason.ResetReceived],
    [CloseReason.ResetReceived, CloseReason.ResetSent],
    [CloseReason.TimedOut, CloseReason.TimedOut],
  ]);
  const isReset = clientReason === CloseReason.ResetSent || clientReason === CloseReason.ResetReceived;
  const phase = (): number => (isReset ? random.below(4) : 0);
  const client: End = {
    ...{ plan, host: plan.client, views: clientViews, reason: clientReason, phase: phase() },
    open: open({
      ...{ ...common, role: Role.Client, cookie: cookie + 1n, process: random.below(5) },
      ...{ localAddress: clientAddress, localPort: clientPort, remoteAddress: serverAddress, remotePort: serverPort },
    }),
  };
  const server: End = {
    ...{ plan, host: plan.server, views: serverViews, reason: serverReason, phase: phase() },
    open: open({
      ...{ ...common, role: Role.Server, cookie: cookie + 2n, process: random.below(5) },
      ...{ localAddress: serverAddress, localPort: serverPort, remoteAddress: clientAddress, remotePort: clientPort },
    }),
  };
  return [client, server].filter(({ host }) => isWatched(host));
}

/** Totals of both ends by window: each sees at most one window's growth less than there is, and all or nearly all of it at the end. */
function makeViews(random: Random, windows: number): [Totals[], Totals[]] {
  const truth = { forward: 0, reverse: 0, forwardSegments: 0, reverseSegments: 0 };
  const retransmits = [0, 0];
  const minRtts = [100 + random.below(1000), 100 + random.below(1000)];
  const views: [Totals[], Totals[]] = [[], []];
  const isLossy = random.chance(0.2);
  for (let index = 0; index < windows; index++) {
    const isIdle = random.chance(0.3);
    const grown = {
      forward: isIdle ? 0 : random.below(10_000),
      reverse: isIdle ? 0 : random.below(100_000),
      forwardSegments: isIdle ? 0 : random.below(20),
      reverseSegments: isIdle ? 0 : random.below(100),
    };
    for (const name of ['forward', 'reverse', 'forwardSegments', 'reverseSegments'] as const)
      truth[name] += grown[name];
    const isLast = index === windows - 1 && !isLossy;
    for (const side of [0, 1] as const) {
      const seen = (name: keyof typeof truth): bigint =>
        BigInt(truth[name] - (isLast || random.chance(0.7) ? 0 : random.below(grown[name] + 1)));
      if (random.chance(0.2)) retransmits[side] += random.below(3);
      if (random.chance(0.1)) minRtts[side] = Math.max(1, minRtts[side] - random.below(50));
      views[side].push({
        bytesSent: seen(side === 0 ? 'forward' : 'reverse'),
        bytesReceived: seen(side === 0 ? 'reverse' : 'forward'),
        segmentsSent: seen(side === 0 ? 'forwardSegments' : 'reverseSegments'),
        segmentsReceived: seen(side === 0 ? 'reverseSegments' : 'forwardSegments'),
        retransmits: BigInt(retransmits[side]),
        srttUs: random.chance(0.2) ? 0 : minRtts[side] + random.below(500),
        minRttUs: minRtts[side],
      });
    }
  }
  return views;
}
