// npm run build [-- PART…]: builds what is out of date. Parts: wasm (or wasm:release), bpf, addon, reducer-addon; without one, all.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { buildWasm } from './build-wasm.ts';
import { runStep, StepError } from './run-step.ts';

const BPF_FOLDER = join(import.meta.dirname, '../../bpf');
const REDUCER_ADDON_FOLDER = join(import.meta.dirname, '../reducer/addon');

/** make compares times itself and does nothing in a few milliseconds when all is built. */
async function make(folder: string, target: string, title: string): Promise<void> {
  await runStep({ title, command: 'make', args: ['-C', folder, `-j${availableParallelism()}`, target] });
}

const PARTS: Record<string, () => Promise<void>> = {
  wasm: () => buildWasm(),
  'wasm:release': () => buildWasm(undefined, ['release']),
  bpf: () => make(BPF_FOLDER, 'programs', 'build eBPF objects'),
  addon: () => make(BPF_FOLDER, 'addon', 'build addon'),
  'reducer-addon': () => make(REDUCER_ADDON_FOLDER, 'all', 'build addon of the reducer'),
};

/** Builds the parts in order; what fails does not keep the others from being built. Returns the messages of what failed. */
export async function build(parts = ['wasm', 'bpf', 'addon', 'reducer-addon']): Promise<string[]> {
  const failures: string[] = [];
  for (const part of parts) {
    try {
      await PARTS[part]();
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      failures.push(error.message);
    }
  }
  return failures;
}

if (import.meta.main) {
  const parts = process.argv.slice(2);
  const unknown = parts.find((part) => PARTS[part] === undefined);
  if (unknown !== undefined) {
    console.error(`no part ${unknown}; there are ${Object.keys(PARTS).join(', ')}`);
    process.exit(2);
  }
  const failures = await build(parts.length > 0 ? parts : undefined);
  for (const failure of failures) console.error(failure);
  process.exit(failures.length > 0 ? 1 : 0);
}
