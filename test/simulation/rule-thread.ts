// A thread that runs seeds with one rule switched off, until one fails. Its first act is to edit what it will load.
import { parentPort, workerData } from 'node:worker_threads';
import { compileEdited, concerns, editHostModules } from './edited-sources.ts';
import type { Rule } from './rules.ts';
import type { Profile } from './scenario.ts';

export interface RuleTrial {
  rule: Rule;
  /** Tried in this order. */
  seeds: readonly { profile: Profile; seed: number }[];
}

export interface RuleFailure {
  profile: Profile;
  seed: number;
  broken: string;
}

/** Undefined when every seed passed. */
export type RuleVerdict = RuleFailure | undefined;

if (parentPort !== null && workerData?.isRuleThread === true) {
  parentPort.postMessage(await trySeeds(workerData.trial as RuleTrial));
}

async function trySeeds({ rule, seeds }: RuleTrial): Promise<RuleVerdict> {
  editHostModules(rule.edits);
  const { runSeed } = await import('./run-seed.ts');
  const { loadModules } = await import('./modules.ts');
  const built = loadModules();
  const modules = {
    agent: concerns('agent', rule.edits) ? await compileEdited('agent', rule.edits) : built.agent,
    reducer: concerns('reducer', rule.edits) ? await compileEdited('reducer', rule.edits) : built.reducer,
  };
  for (const { profile, seed } of seeds) {
    const { broken } = runSeed({ seed, profile, modules });
    if (broken.length > 0) return { profile, seed, broken: broken[0].split('\n')[0] };
  }
  return undefined;
}
