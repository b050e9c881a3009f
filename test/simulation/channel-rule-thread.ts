// A thread that runs the miniature fleet of a channel with one rule switched off. Its first act is to edit what it will load.
import { parentPort, workerData } from 'node:worker_threads';
import { editHostModules } from './edited-sources.ts';
import type { Edit } from './rules.ts';

export interface ChannelTrial {
  edits: readonly Edit[];
  /** Tried in this order, until one fails. */
  seeds: readonly number[];
}

/** Undefined when every seed passed. */
export type ChannelVerdict = { seed: number; broken: string } | undefined;

if (parentPort !== null && workerData?.isChannelRuleThread === true) {
  parentPort.postMessage(await trySeeds(workerData.trial as ChannelTrial));
}

async function trySeeds({ edits, seeds }: ChannelTrial): Promise<ChannelVerdict> {
  editHostModules(edits);
  const { ChannelWorld } = await import('../../host/wire/testing/channel-world.ts');
  for (const seed of seeds) {
    try {
      new ChannelWorld(seed).run();
    } catch (error) {
      return { seed, broken: error instanceof Error ? error.message.split('\n')[0] : String(error) };
    }
  }
  return undefined;
}
