// A fleet through the product and through the reference model: what differs, and the smallest fleet in which it does.
import assert from 'node:assert/strict';
import { mergeOutputs, printPoint } from '../../wasm-modules/testing/window-output.ts';
import { generateScript } from './generate.ts';
import { type FleetPlan, planFleet } from './plan.ts';
import { type ProductOptions, runProduct } from './product.ts';
import { ReferenceModel } from './reference-sessions.ts';
import type { Step } from './script.ts';

/** Rows of one closed window, a line of text for each. */
interface Rows {
  window: number;
  lines: string[];
}

const WORKERS = [1, 2, 4];
const LINES_SHOWN_MAX = 20;

function productRows(script: readonly Step[], options: ProductOptions): Rows[] {
  const closed = runProduct(script, options);
  return [...closed].map(([window, outputs]) => ({ window, lines: mergeOutputs(outputs).map(printPoint) }));
}

/** What the model says of every window of a fleet. */
export function referenceRows(script: readonly Step[], seriesBudget: number): Rows[] {
  const model = new ReferenceModel(seriesBudget);
  const rows: Rows[] = [];
  for (const step of script) {
    const lines = model.run(step);
    if (step.step === 'close' && lines !== undefined) rows.push({ window: step.window, lines });
  }
  return rows;
}

/** What the first window that differs has on one side alone; undefined when every window is alike. */
export function differenceOf(plan: FleetPlan, module: WebAssembly.Module): string | undefined {
  const script = generateScript(plan);
  const { seed, seriesBudget } = plan;
  const alone = productRows(script, { module, workers: 1, seed, seriesBudget });
  const reference = referenceRows(script, seriesBudget);
  assert.equal(alone.length, reference.length);
  for (const [index, { window, lines }] of alone.entries()) {
    const differing = onlyIn(lines, reference[index].lines, ['product  ', 'reference']);
    if (differing.length > 0) return `window ${window}\n${differing.join('\n')}`;
  }
  // Lines, their order and all: the bytes of the merged output.
  for (const workers of WORKERS.slice(1)) {
    const together = productRows(script, { module, workers, seed: seed + workers, seriesBudget });
    for (const [index, { window, lines }] of together.entries()) {
      if (lines.join('\n') === alone[index].lines.join('\n')) continue;
      const differing = onlyIn(lines, alone[index].lines, [`${workers} workers`, '1 worker ']);
      return `window ${window}\n${differing.join('\n') || 'the order differs'}`;
    }
  }
  return undefined;
}

/** Leaves alone, if one of them differs: the other levels are their sums. */
function onlyIn(left: readonly string[], right: readonly string[], names: [string, string]): string[] {
  const only = (lines: readonly string[], others: readonly string[], name: string): [string, string][] => {
    const known = new Set(others);
    return lines.filter((line) => !known.has(line)).map((line) => [line, name]);
  };
  const differing = [...only(left, right, names[0]), ...only(right, left, names[1])].sort();
  const leaves = differing.filter(([line]) => line.startsWith('0 '));
  return (leaves.length > 0 ? leaves : differing).slice(0, LINES_SHOWN_MAX).map(([line, name]) => `${name} ${line}`);
}

/** As `differenceOf`; a fleet that the product refuses differs too. */
function failureOf(plan: FleetPlan, module: WebAssembly.Module): string | undefined {
  try {
    return differenceOf(plan, module);
  } catch (error) {
    if (!(error instanceof assert.AssertionError)) throw error;
    return `refused: ${error.message}`;
  }
}

/** Undefined when a fleet is alike; else its seed, the smallest part of it that differs and how, for a person to read. */
export function checkFleet(seed: number, module: WebAssembly.Module): string | undefined {
  let plan = planFleet(seed);
  let failure = failureOf(plan, module);
  if (failure === undefined) return undefined;
  for (let smaller: FleetPlan | undefined = plan; smaller !== undefined; ) {
    plan = smaller;
    failure = failureOf(plan, module) ?? failure;
    const kind = failure.split(' ')[0];
    smaller = smallerPlans(plan).find((part) => failureOf(part, module)?.startsWith(kind));
  }
  return `SEED=${seed}\n${JSON.stringify(plan, printMap)}\n${failure}`;
}

function smallerPlans(plan: FleetPlan): FleetPlan[] {
  const { connections, hosts } = plan;
  return [
    ...connections.map((_, index) => ({ ...plan, connections: connections.toSpliced(index, 1) })),
    ...hosts.map((_, index) => ({ ...plan, hosts: hosts.toSpliced(index, 1) })),
  ];
}

function printMap(_: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}
