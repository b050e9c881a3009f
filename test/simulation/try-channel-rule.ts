import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { ChannelTrial, ChannelVerdict } from './channel-rule-thread.ts';

/** Runs the trial in a thread of its own. */
export async function tryChannelRule(trial: ChannelTrial): Promise<ChannelVerdict> {
  const worker = new Worker(new URL('./channel-rule-thread.ts', import.meta.url), {
    workerData: { isChannelRuleThread: true, trial },
  });
  const [verdict]: [ChannelVerdict] = (await once(worker, 'message')) as [ChannelVerdict];
  return verdict;
}
