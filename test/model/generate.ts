// What the agents of a planned fleet say, window by window, and when a reducer hears it.
import { BaselineKind, OpenFlags, type Totals } from '../../host/wire/gen/wire-layout.ts';
import type { Announce, Process } from '../../host/wire/gen/wire-tables.ts';
import { Random } from '../../schemas/testing/random.ts';
import { process, totals } from '../../wasm-modules/testing/agent-frames.ts';
import { addressOf, type End, LABELS, makeEnds, makeTallies, SPACE } from './generate-ends.ts';
import { type FleetPlan, HOSTS_MAX, type HostPlan, type Life } from './plan.ts';
import { FIRST_WINDOW, type Frame, type Session, type Step } from './script.ts';

/** A reducer leaves an agent of whom nothing comes for three windows. */
const SILENT_WINDOWS_MAX = 2;

/** A socket that was told as open, and the totals that were told last. Of datagrams an agent counts what it saw itself, beyond `before`. */
interface Known {
  handle: number;
  totals: Totals;
  before: Totals;
}

/** What an agent process has told on its channel. */
interface Teller {
  host: HostPlan;
  session: Session;
  life: Life;
  random: Random;
  nextHandle: number;
  told: Map<End, Known>;
  /** The last window that was told. */
  last: number;
  /** Told, and not yet heard. */
  pending: { hearing: number; frames: Frame[] }[];
  silentWindows: number;
  isCut: boolean;
}

export function generateScript(plan: FleetPlan): Step[] {
  const ends = withoutRivals(plan.connections.flatMap((connection) => makeEnds(connection, plan)));
  const steps: Step[] = [];
  const tellers = plan.hosts.flatMap((host) => host.lives.map((life, index) => makeTeller(host, life, index)));
  for (let window = 0; window < plan.windows; window++) {
    const living = tellers.filter(({ life }) => window >= life.from);
    const isWaited = ({ life }: Teller): boolean => window <= life.to && life.isWaitedFor[window];
    for (const teller of living) if (!isWaited(teller)) runTeller(teller, ends, window, steps);
    const waited = living.filter(isWaited);
    if (waited.length > 0) steps.push({ step: 'wait' });
    for (const teller of waited) runTeller(teller, ends, window, steps);
    steps.push({ step: 'close', window: FIRST_WINDOW + window });
  }
  return steps;
}

/** Ends that join by their tuple, and share it with an earlier connection, would claim a side that is taken. */
function withoutRivals(ends: readonly End[]): End[] {
  const taken = new Map<string, bigint>();
  return ends.filter(({ open, plan }) => {
    if (open.joinKey !== 0n || plan.kind === 'failed') return true;
    const { protocol, localAddress, localPort, remoteAddress, remotePort } = open;
    const pair = [`${localAddress}:${localPort}`, `${remoteAddress}:${remotePort}`].sort();
    const connection = open.cookie >> 4n;
    const key = `${protocol} ${pair.join(' ')}`;
    if (!taken.has(key)) taken.set(key, connection);
    return taken.get(key) === connection;
  });
}

function makeTeller(host: HostPlan, life: Life, index: number): Teller {
  const session = {
    session: BigInt(host.index * 100 + index + 1),
    agent: host.index + 1,
    zone: host.zone,
    firstWindow: FIRST_WINDOW + life.from,
  };
  const random = new Random(host.seed + index);
  return {
    ...{ host, session, life, random, nextHandle: 1, told: new Map(), last: life.from - 1 },
    ...{ pending: [], silentWindows: 0, isCut: false },
  };
}

function runTeller(teller: Teller, ends: readonly End[], window: number, steps: Step[]): void {
  const { life, session } = teller;
  if (window === life.from) steps.push({ step: 'connect', session, repeats: 0 });
  const isTold = window <= life.to && !life.isCoalesced[window];
  if (isTold) {
    const earlier = teller.pending.at(-1)?.hearing ?? 0;
    const isFirst = teller.last < life.from;
    const frames = [...(isFirst ? snapshot(teller, ends) : []), ...tellWindow(teller, ends, window)];
    teller.pending.push({ hearing: Math.max(window + life.delays[window], earlier), frames });
  }
  const heard = teller.pending.filter(({ hearing }) => hearing === window);
  const repeats = life.cuts.get(window);
  teller.silentWindows = heard.length > 0 ? 0 : teller.silentWindows + 1;
  if (window <= life.to && !teller.isCut && (repeats !== undefined || teller.silentWindows === SILENT_WINDOWS_MAX)) {
    steps.push({ step: 'cut', session });
    teller.isCut = true;
  }
  if (heard.length > 0 && teller.isCut) {
    steps.push({ step: 'connect', session, repeats: repeats ?? 0 });
    teller.isCut = false;
  }
  for (const { frames } of heard) steps.push({ step: 'tell', session, frames });
  if (window === life.to && life.ending !== 'stays')
    steps.push({ step: life.ending === 'killed' ? 'cut' : 'goodbye', session });
}

/** What its earlier windows told was committed by another reducer. */
function isRetold(host: HostPlan, life: Life): boolean {
  return host.hasPast && life.from === 0;
}

function snapshot(teller: Teller, ends: readonly End[]): Frame[] {
  const { host, life, told, random } = teller;
  const window = FIRST_WINDOW + life.from;
  const announce = (values: Partial<Announce>): Frame => ({ kind: 'announce', announce: values });
  const frames: Frame[] = [
    { kind: 'snapshotBegin', window },
    announce({ addressSpaces: [{ handle: SPACE, name: 'default' }], processes: processesOf(host) }),
    announce({ labels: Array.from({ length: LABELS }, (_, label) => ({ handle: label + 1, text: `name-${label}` })) }),
  ];
  const hostAddresses = ([4, 6] as const).map((version) => ({
    address: addressOf(host.index, version),
    addressSpace: SPACE,
  }));
  if (host.tellsAddresses) frames.push(announce({ hostAddresses }));
  for (const end of ends) {
    const { opening, closing, kind } = end.plan;
    if (end.isSettled && end.host === host.index && life.from === 0) frames.push(settle(end, random));
    const isLookedAtAnew = kind === 'udp' && !isRetold(host, life);
    if (end.host !== host.index || kind === 'settled' || isLookedAtAnew || opening >= life.from || closing < life.from)
      continue;
    const handle = teller.nextHandle++;
    const before = end.views[life.from - 1 - opening];
    const isCommitted = isRetold(host, life);
    told.set(end, { handle, totals: before, before: totals() });
    const flags = isCommitted && random.chance(0.7) ? OpenFlags.Existing | OpenFlags.Counted : OpenFlags.Existing;
    frames.push({ kind: 'open', items: [{ ...end.open, handle, flags }] });
    const baseline = isCommitted ? BaselineKind.Committed : BaselineKind.Adopted;
    frames.push({ kind: 'baseline', items: [{ handle, kind: baseline, totals: before }] });
  }
  frames.push({ kind: 'snapshotEnd', window });
  return frames;
}

/** Everything since the last window that was told: several windows when they are told together. */
function tellWindow(teller: Teller, ends: readonly End[], window: number): Frame[] {
  const { told, random, last, host, life } = teller;
  const [names, opens, tallies, onces, updates, closes]: Frame[][] = [[], [], [], [], [], []];
  if (random.chance(0.3)) names.push(nameAddress(random));
  if (random.chance(0.2)) tallies.push({ kind: 'tally', items: makeTallies(random, true).slice(0, 1) });
  for (const end of ends) {
    const { opening, closing } = end.plan;
    if (end.host !== host.index || window < opening || closing <= last) continue;
    // An agent that looks anew does not know of datagrams what passed before, and gives the flow a number of its own.
    const isSeenAnew = end.plan.kind === 'udp' && opening < life.from && last < life.from && !told.has(end);
    const isNew = opening > last || isSeenAnew;
    if (end.isSettled || (!isNew && !told.has(end))) continue;
    const isClosing = closing <= window;
    const before = isSeenAnew ? end.views[life.from - 1 - opening] : told.get(end)?.before;
    const now = minus(end.views[Math.min(window, closing) - opening], before);
    const open = isSeenAnew
      ? { ...end.open, cookie: end.open.cookie ^ (BigInt(life.from) << 40n), flags: OpenFlags.Existing }
      : end.open;
    const counted = end.tallies.slice(Math.max(last + 1, opening) - opening, window + 1 - opening).flat();
    const { reason, phase, error, endTimeNs, handshakeUs } = end;
    if (isNew && isClosing && counted.length === 0) {
      onces.push({
        kind: 'once',
        items: [{ open, totals: now, endTimeNs, reason, phase, error, handshakeUs }],
      });
      continue;
    }
    if (isNew) {
      const handle = teller.nextHandle++;
      told.set(end, { handle, totals: totals(), before: before ?? totals() });
      opens.push({ kind: 'open', items: [{ ...open, handle }] });
    }
    const known = told.get(end);
    if (known === undefined) continue;
    const { handle } = known;
    if (counted.length > 0) tallies.push({ kind: 'tally', items: counted.map((each) => ({ ...each, handle })) });
    if (isClosing) {
      closes.push({ kind: 'close', items: [{ handle, reason, phase, error, endTimeNs, totals: now }] });
      told.delete(end);
    } else if (hasMoved(known.totals, now)) {
      updates.push(updateOf(known, now, random));
      known.totals = now;
    }
  }
  teller.last = window;
  const windowEnd = { window: FIRST_WINDOW + window, fromWindow: FIRST_WINDOW + last + 1 };
  return [...names, ...opens, ...tallies, ...onces, ...updates, ...closes, { kind: 'windowEnd', ...windowEnd }];
}

/** What sockets that open from now on call an address, or that they have no name for it any more. */
function nameAddress(random: Random): Frame {
  const address = addressOf(random.below(HOSTS_MAX + 2), random.pick([4, 6] as const));
  return {
    kind: 'announce',
    announce: { namedAddresses: [{ address, addressSpace: SPACE, label: random.below(LABELS + 1) }] },
  };
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

function minus(now: Totals, before = totals()): Totals {
  return {
    ...now,
    bytesSent: now.bytesSent - before.bytesSent,
    bytesReceived: now.bytesReceived - before.bytesReceived,
    segmentsSent: now.segmentsSent - before.segmentsSent,
    segmentsReceived: now.segmentsReceived - before.segmentsReceived,
  };
}

/** This end was told to the end and committed before: the other one may come yet. */
function settle({ open, views }: End, random: Random): Frame {
  const { joinKey, role } = open;
  const counted = random.below(2);
  return { kind: 'settled', items: [{ joinKey, pair: 0n, role, counted, window: FIRST_WINDOW - 1, totals: views[0] }] };
}

function hasMoved(before: Totals, now: Totals): boolean {
  return before.bytesSent !== now.bytesSent || before.bytesReceived !== now.bytesReceived;
}

function processesOf(host: HostPlan): Process[] {
  const unit = (handle: number, name: string, executable: string): Process =>
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
