// A random fleet: hosts with the lives of their agents, and connections between them. Every host and connection has a seed of its own, so
// that a fleet which fails is made smaller by leaving some out, and the rest stays as it was.
import { Random } from '../../schemas/testing/random.ts';

export interface Life {
  /** First and last window that this agent process tells. */
  from: number;
  to: number;
  ending: 'stays' | 'goodbye' | 'killed';
  /** By window: how many windows later it is heard. */
  delays: number[];
  /** Windows before which the connection is cut and resumed, with the number of frames that are told again. */
  cuts: Map<number, number>;
}

export interface HostPlan {
  index: number;
  seed: number;
  zone: string;
  /** The host has told its addresses, so that others name it by them. */
  tellsAddresses: boolean;
  lives: Life[];
}

export interface ConnectionPlan {
  seed: number;
  /** Index of a host, or what nobody watches. */
  client: number;
  server: number;
  /** Window in which it opens and in which it closes; `closing` beyond the last window: stays open. */
  opening: number;
  closing: number;
}

export interface FleetPlan {
  seed: number;
  windows: number;
  hosts: HostPlan[];
  connections: ConnectionPlan[];
}

export function planFleet(seed: number): FleetPlan {
  const random = new Random(seed);
  const windows = 3 + random.below(8);
  const hosts = Array.from({ length: 1 + random.below(8) }, (_, index) => planHost(index, windows, random.uint32()));
  // Two addresses more, where no agent looks.
  const count = 1 + random.below(random.pick([4, 20, 60]));
  const connections = Array.from({ length: count }, () => planConnection(hosts.length, windows, random.uint32()));
  return { seed, windows, hosts, connections };
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
  return { index, seed, zone: random.pick(['', 'a', 'b']), tellsAddresses: random.chance(0.7), lives };
}

function planLife(random: Random, life: Pick<Life, 'from' | 'to' | 'ending'>): Life {
  const isLate = random.chance(0.4);
  const delays = Array.from({ length: life.to + 1 }, () => (isLate && random.chance(0.3) ? 1 + random.below(4) : 0));
  const cuts = new Map<number, number>();
  for (let window = life.from + 1; window <= life.to; window++)
    if (random.chance(0.1)) cuts.set(window, random.below(10));
  return { ...life, delays, cuts };
}

function planConnection(hosts: number, windows: number, seed: number): ConnectionPlan {
  const random = new Random(seed);
  const client = random.below(hosts + 2);
  const server = client >= hosts ? random.below(hosts) : random.below(hosts + 2);
  const opening = random.below(windows + 1) - 1;
  const closing = opening + (random.chance(0.4) ? 0 : random.below(windows + 2));
  return { seed, client, server, opening, closing: opening < 0 ? Math.max(0, closing) : closing };
}
