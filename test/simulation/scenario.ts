// What a seed draws: how large the fleet is, how long it runs, and what fate may do to it. A profile says which faults there are, so that
// each promise is also tested without the faults that would soften it.
import type { Random } from './random.ts';

export const PROFILES = [
  'calm',
  'cuts',
  'anew',
  'torn',
  'slow',
  'sleepers',
  'exporter',
  'kills',
  'agents',
  'crowd',
  'retention',
  'deaf',
  'severed',
  'everything',
] as const;
export type Profile = (typeof PROFILES)[number];

export interface Faults {
  /** Expected number in a run, for each agent's link. */
  cuts: number;
  resets: number;
  /** Cuts that outlast the reducer's patience. */
  severs: number;
  /** Expected number in a run, for each agent. */
  freezes: number;
  /** Expected number in a run, for each agent's channel. */
  restarts: number;
  /** Expected number in a run. */
  reducerKills: number;
  /** Chance that a stored batch, or a commit that is on its way to the workers, kills the reducer. */
  killOnStore: number;
  killOnCommit: number;
  /** Expected number of kills of each agent that may die, and the chance that it says goodbye instead. */
  agentKills: number;
  stopInstead: number;
  outages: number;
}

export interface Scenario {
  seed: number;
  profile: Profile;
  agents: number;
  workers: number;
  windows: number;
  latenessMs: number;
  creditBytes: number;
  exportQueueMax: number;
  freezeMs: { least: number; most: number };
  /** Closed and uncommitted sockets that an agent keeps apart; 0 = its default. */
  closedRetained: number;
  /** Greatest offset of an agent's clock, milliseconds. */
  skewMs: number;
  /** Connections that begin in a window, on average. */
  connectionsPerWindow: number;
  /** Connections that begin at one moment now and then. */
  burst: number;
  burstRounds: number;
  /** Agents that may die: the first so many. The other end of a connection to them is watched throughout. */
  mortals: number;
  /** Some connections have no join key. */
  joinless: boolean;
  faults: Faults;
}

const NO_FAULTS: Faults = {
  cuts: 0,
  resets: 0,
  severs: 0,
  freezes: 0,
  restarts: 0,
  reducerKills: 0,
  killOnStore: 0,
  killOnCommit: 0,
  agentKills: 0,
  stopInstead: 0,
  outages: 0,
};

const FAULTS: Record<Profile, Partial<Faults>> = {
  calm: {},
  cuts: { cuts: 3, resets: 2 },
  anew: { restarts: 2, outages: 1 },
  torn: { restarts: 3, cuts: 4, outages: 3 },
  slow: { freezes: 4, cuts: 1 },
  sleepers: { freezes: 0.5 },
  exporter: { outages: 3, cuts: 0.5 },
  kills: { reducerKills: 1.5, killOnStore: 0.05, killOnCommit: 0.1, outages: 0.5 },
  agents: { agentKills: 2, stopInstead: 0.3, cuts: 0.5 },
  crowd: { cuts: 2, outages: 2, freezes: 2 },
  retention: { cuts: 1, outages: 3, reducerKills: 0.5 },
  deaf: { resets: 1, outages: 3, killOnCommit: 0.2 },
  severed: { severs: 0.5, cuts: 0.5 },
  everything: {
    cuts: 1.5,
    resets: 1,
    freezes: 1,
    reducerKills: 1,
    killOnStore: 0.03,
    killOnCommit: 0.03,
    agentKills: 1,
    stopInstead: 0.3,
    outages: 1,
  },
};

export function drawScenario(seed: number, random: Random, only?: Profile): Scenario {
  const profile = only ?? random.pick(PROFILES);
  const isCrowd = profile === 'crowd';
  const agents = random.between(2, 4);
  const mayLoseAgents = profile === 'agents' || profile === 'everything';
  return {
    seed,
    profile,
    agents,
    workers: random.pick([1, 2, 4]),
    windows: random.between(20, 40),
    freezeMs: profile === 'sleepers' ? { least: 8_500, most: 12_000 } : { least: 200, most: 6_000 },
    latenessMs: isCrowd || profile === 'sleepers' || profile === 'deaf' ? 2_000 : random.pick([500, 1_000, 2_000]),
    creditBytes: isCrowd ? 96 * 1024 : random.pick([96 * 1024, 4 << 20]),
    exportQueueMax: profile === 'exporter' || profile === 'everything' ? random.between(2, 6) : 30,
    closedRetained: profile === 'retention' ? 10 : 0,
    skewMs: random.pick([0, 300, 3_600_000]),
    connectionsPerWindow: random.pick([1, 2, 4]),
    burst: isCrowd ? random.between(150, 400) : random.between(0, profile === 'retention' ? 60 : 12),
    burstRounds: isCrowd ? 4 : 1,
    mortals: mayLoseAgents ? random.between(1, profile === 'agents' ? 1 : agents) : 0,
    joinless: profile === 'calm' || profile === 'slow' || profile === 'agents',
    faults: { ...NO_FAULTS, ...FAULTS[profile] },
  };
}
