import { Worker } from 'node:worker_threads';
import type { RuleTrial, RuleVerdict } from './rule-thread.ts';

/** Runs the trial in a thread of its own. A seed that does not end within `timeoutMs` has failed too. */
export function tryRule(trial: RuleTrial, timeoutMs: number): Promise<RuleVerdict> {
  const worker = new Worker(new URL('./rule-thread.ts', import.meta.url), {
    workerData: { isRuleThread: true, trial },
  });
  return new Promise((resolve, reject) => {
    const timeout = setTimeout(() => {
      void worker.terminate();
      const [{ profile, seed }] = trial.seeds;
      resolve({ profile, seed, broken: `not ended after ${timeoutMs} ms` });
    }, timeoutMs);
    worker.on('message', (verdict: RuleVerdict) => {
      clearTimeout(timeout);
      resolve(verdict);
    });
    worker.on('error', reject);
  });
}
