// `npm run simulate`: SEEDS seeds from SEED on, over all processors. One seed alone prints its trace with TRACE=1; PROFILE fixes the profile.
import { availableParallelism } from 'node:os';
import { loadModules } from './modules.ts';
import { runSeed } from './run-seed.ts';
import { PROFILES, type Profile } from './scenario.ts';
import { runSeeds } from './seed-pool.ts';

const first = Number(process.env.SEED ?? 1);
const count = Number(process.env.SEEDS ?? (process.env.SEED === undefined ? 1_000 : 1));
const profile = PROFILES.find((name) => name === process.env.PROFILE);

const PROGRESS_MS = 5_000;

if (count === 1) simulateOne(first, profile);
else await simulateMany();

function simulateOne(seed: number, only: Profile | undefined): void {
  const trace = process.env.TRACE === undefined ? undefined : (text: string) => console.log(text);
  const report = runSeed({ seed, modules: loadModules(), profile: only, trace });
  console.log(report);
  if (report.broken.length > 0) process.exitCode = 1;
}

async function simulateMany(): Promise<void> {
  const started = performance.now();
  let toldMs = started;
  const reports = await runSeeds({
    first,
    count,
    profile,
    threads: Number(process.env.THREADS ?? availableParallelism()),
    onProgress: (done) => {
      if (performance.now() - toldMs < PROGRESS_MS) return;
      toldMs = performance.now();
      console.error(`${done} of ${count} seeds`);
    },
  });
  const failed = reports.filter(({ broken }) => broken.length > 0);
  for (const { seed, broken, profile: name } of failed)
    console.log(
      `SEED=${seed} npm run simulate   # ${name}: ${broken[0].split('\n')[0]}${broken.length > 1 ? ` (and ${broken.length - 1} more)` : ''}`,
    );
  const sum = (of: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((total, report) => total + of(report), 0);
  console.log(
    `${reports.length} seeds, ${failed.length} failed: ${sum((r) => r.connections)} connections, ${sum((r) => r.windows)} exported windows, ` +
      `${sum((r) => r.reducerKills)} reducer kills, ${sum((r) => r.repeatedWindows)} repeated windows; ` +
      `${Math.round(sum((r) => r.cpuMs) / reports.length)} ms of processor a seed, ${Math.round((performance.now() - started) / 1000)} s`,
  );
  if (failed.length > 0) process.exitCode = 1;
}
