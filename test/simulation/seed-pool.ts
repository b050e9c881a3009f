// Seeds over worker threads. Threads take the next seed when they are done with one, so a slow seed holds nobody up.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { loadModules } from './modules.ts';
import { runSeed, type SeedReport } from './run-seed.ts';
import type { Profile } from './scenario.ts';

export interface SeedPoolOptions {
  first: number;
  count: number;
  threads: number;
  profile: Profile | undefined;
  /** Called after each seed with how many are done. */
  onProgress?: (done: number) => void;
}

/** Reports in the order of seeds. */
export async function runSeeds({ first, count, threads, profile, onProgress }: SeedPoolOptions): Promise<SeedReport[]> {
  const reports: SeedReport[] = [];
  let next = first;
  const runThread = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { isSeedThread: true } });
      const give = (): void => {
        if (next < first + count) worker.postMessage({ seed: next++, profile });
        else void worker.terminate().then(() => resolve());
      };
      worker.on('message', (report: SeedReport) => {
        reports.push(report);
        onProgress?.(reports.length);
        give();
      });
      worker.on('error', reject);
      give();
    });
  await Promise.all(Array.from({ length: Math.min(threads, count) }, runThread));
  return reports.sort((a, b) => a.seed - b.seed);
}

if (!isMainThread && workerData?.isSeedThread === true) {
  const modules = loadModules();
  parentPort?.on('message', ({ seed, profile }: { seed: number; profile: Profile | undefined }) => {
    parentPort?.postMessage(runSeed({ seed, profile, modules }));
  });
}
