// A random fleet: hosts with the lives of their agents, and connections between them. Every host and connection has a seed of its own, so
// that a fleet which fails is made smaller by leaving some out, and the rest stays as it was.
import { Random } from '../../schemas/testing/random.ts';

/** One agent process. Windows are counted from the first of the fleet. */
export interface Life {
  /** First and last window that it tells. */
  from: number;
  to: number;
  ending: 'stays' | 'goodbye' | 'killed';
  /** By window: how many windows later it is heard. */
  delays: number[];
  /** By window: told after its end, which an agent that was never late is waited for. */
  isWaitedFor: boolean[];
  /** By window: told together with the next one. */
  isCoalesced: boolean[];
  /** Windows before which the connection is cut and resumed, with the number of frames that are told again. */
  cuts: Map<number, number>;
}

export interface HostPlan {
  index: number;
  seed: number;
  zone: string;
  /** The host tells its addresses, so that it names what others tell of them. */
  tellsAddresses: boolean;
  /** Its first agent, if it is there from the beginning, told an earlier reducer. */
  hasPast: boolean;
  lives: Life[];
}

/**
 * TCP with a join key, with addresses translated on the way, without a key; a connect that failed; datagrams; TCP that an earlier reducer booked
 * to the end, of which one end tells as settled.
 */
export type ConnectionKind = 'tcp' | 'translated' | 'keyless' | 'failed' | 'udp' | 'settled';

export interface ConnectionPlan {
  seed: number;
  kind: ConnectionKind;
  /** Index of a host; beyond the hosts: where nobody looks. */
  client: number;
  server: number;
  /** Window in which it opens, -1: before the first; and in which it closes, which may be beyond the last. */
  opening: number;
  closing: number;
  /** Index of a host with a socket that claims the client's side, too; -1: none. */
  rival: number;
}

export interface FleetPlan {
  seed: number;
  windows: number;
  /** Rows of a level; of most fleets some levels have more. */
  seriesBudget: number;
  hosts: HostPlan[];
  connections: ConnectionPlan[];
}

export const HOSTS_MAX = 8;
/** Addresses where no agent looks. */
const STRANGERS = 2;

const KINDS: readonly ConnectionKind[] = [
  ...(['tcp', 'tcp', 'tcp', 'tcp', 'translated'] as const),
  ...(['keyless', 'failed', 'udp', 'udp', 'settled'] as const),
];

export function planFleet(seed: number): FleetPlan {
  const random = new Random(seed);
  // Some last longer than a reducer waits for an agent to come back.
  const isLong = random.chance(0.1);
  const windows = isLong ? 40 : 3 + random.below(8);
  const hosts = Array.from({ length: 1 + random.below(HOSTS_MAX) }, (_, index) =>
    planHost(index, windows, random.uint32()),
  );
  const count = 1 + random.below(isLong ? 4 : random.pick([4, 20, 60]));
  const connections = Array.from({ length: count }, () => planConnection(hosts.length, windows, random.uint32()));
  const seriesBudget = random.pick([1, 4, 10, 30, 10_000]);
  return { seed, windows, seriesBudget, hosts, connections };
}

function planHost(index: number, windows: number, seed: number): HostPlan {
  const random = new Random(seed);
  const lives: Life[] = [];
  let from = random.chance(0.7) ? 0 : random.below(windows);
  while (from < windows) {
    const stays = random.chance(0.7);
    const to = stays ? windows - 1 : from + random.below(windows - from);
    const ending = stays ? 'stays' : random.pick(['goodbye', 'killed'] as const);
    lives.push(planLife(random, { from, to, ending }));
    from = to + 1 + random.below(3);
  }
  return {
    index,
    seed,
    zone: random.pick(['', 'a', 'b']),
    tellsAddresses: random.chance(0.7),
    hasPast: random.chance(0.3),
    lives,
  };
}

function planLife(random: Random, life: Pick<Life, 'from' | 'to' | 'ending'>): Life {
  const { from, to, ending } = life;
  const manner = random.pick(['punctual', 'slow', 'late', 'coalescing'] as const);
  const byWindow = <T>(make: (window: number) => T): T[] => Array.from({ length: to + 1 }, (_, window) => make(window));
  const cuts = new Map<number, number>();
  for (let window = from + 1; window <= to; window++) if (random.chance(0.1)) cuts.set(window, random.below(10));
  return {
    ...life,
    delays: byWindow(() => (manner === 'late' && ending === 'stays' && random.chance(0.3) ? 1 + random.below(4) : 0)),
    isWaitedFor: byWindow((window) => manner === 'slow' && window > from && !cuts.has(window) && random.chance(0.5)),
    isCoalesced: byWindow((window) => manner === 'coalescing' && window < to && random.chance(0.3)),
    cuts,
  };
}

function planConnection(hosts: number, windows: number, seed: number): ConnectionPlan {
  const random = new Random(seed);
  const kind = random.pick(KINDS);
  const client = random.below(hosts + STRANGERS);
  const server = client >= hosts ? random.below(hosts) : random.below(hosts + STRANGERS);
  const opening = kind === 'failed' || kind === 'settled' ? random.below(windows) : random.below(windows + 1) - 1;
  const isShort = kind === 'failed' || kind === 'settled' || random.chance(0.4);
  const closing = opening + (isShort ? 0 : random.below(windows + 2));
  const rival = kind === 'tcp' && random.chance(0.2) ? random.below(hosts) : -1;
  return { seed, kind, client, server, opening, closing: Math.max(0, closing), rival };
}
