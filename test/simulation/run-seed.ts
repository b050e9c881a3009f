import { audit } from './audit.ts';
import { Fleet, type Modules } from './fleet.ts';
import type { Profile } from './scenario.ts';

export interface SeedOptions {
  seed: number;
  modules: Modules;
  profile?: Profile;
  trace?: (text: string) => void;
}

export interface SeedReport {
  seed: number;
  profile: Profile;
  /** Broken promises, in words; empty when the seed passed. */
  broken: string[];
  connections: number;
  windows: number;
  reducerKills: number;
  repeatedWindows: number;
  cpuMs: number;
}

/** Runs one fleet to its end and judges it. Never throws: an error of the code under test is a broken promise too. */
export function runSeed({ seed, modules, profile, trace }: SeedOptions): SeedReport {
  const before = process.cpuUsage();
  const fleet = new Fleet({ seed, modules, profile, trace });
  const broken: string[] = [];
  let repeatedWindows = 0;
  try {
    fleet.run();
    fleet.close();
    const judged = audit(fleet);
    broken.push(...fleet.broken, ...judged.broken);
    repeatedWindows = judged.repeatedWindows;
  } catch (error) {
    broken.push(...fleet.broken, error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  const { user, system } = process.cpuUsage(before);
  return {
    seed,
    profile: fleet.scenario.profile,
    broken,
    connections: fleet.kernel.connections.length,
    windows: fleet.collector.batches.length,
    reducerKills: fleet.incarnations.length - 1,
    repeatedWindows,
    cpuMs: (user + system) / 1000,
  };
}
