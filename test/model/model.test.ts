// The reducer against the reference model (reference-flows.ts), which is written from docs/ alone: random fleets give the same rows at all
// seven levels, window by window, and the same lines with 1, 2 and 4 workers. `npm run test:model` looks at 1 000 fleets; MODEL_FLEETS and
// SEED choose others.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileReducer } from '../../host/reducer/reducer-module.ts';
import { compileEdited } from '../simulation/edited-sources.ts';
import { checkFleet, referenceRows } from './check.ts';
import { generateScript } from './generate.ts';
import { planFleet } from './plan.ts';

const FLEETS = Number(process.env.MODEL_FLEETS ?? 60);
const FIRST_SEED = Number(process.env.SEED ?? 1);
const FAILURES_SHOWN_MAX = 3;

/** Fields of rows that some of the fleets must have, for the comparison to say something. */
const FIELDS = [
  ...['flowsBoth', 'flowsClient', 'flowsServer', 'lateBytes', 'residualBytes', 'judgedBytes', 'closed', 'active'],
  ...['refused', 'timedOut', 'abandoned', 'unreachable', 'failedOther', 'resetsClient', 'resetsServer'],
];

const MATCH = 'wasm-modules/assembly/match';
/** A rule of the product that is switched off, to see the model catch it. */
const EDIT = {
  file: `${MATCH}/ledger.ts`,
  find: 'max(senderFrom, receiverFrom)',
  replace: 'min(senderFrom, receiverFrom)',
};

/** Of the fleets that differ the first few, as small as they can be made. */
function failuresOf(module: WebAssembly.Module): string[] {
  const failures: string[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + FLEETS && failures.length < FAILURES_SHOWN_MAX; seed++) {
    const failure = checkFleet(seed, module);
    if (failure !== undefined) failures.push(failure);
  }
  return failures;
}

test(`${FLEETS} random fleets give the rows of the reference model, with 1, 2 and 4 workers`, async () => {
  const failures = failuresOf(await compileReducer());
  assert.equal(failures.length, 0, failures.join('\n\n'));
});

test('the fleets have both ends, one end, late bytes, residuals, failures, resets, datagrams, names and hosts', () => {
  const plans = Array.from({ length: 60 }, (_, index) => planFleet(index + 1));
  const lines = plans
    .flatMap((plan) => referenceRows(generateScript(plan), plan.seriesBudget))
    .flatMap((rows) => rows.lines)
    .join('\n');
  for (const field of FIELDS) assert.match(lines, new RegExp(` ${field},[1-9]`));
  assert.match(lines, / 17\/443 /, 'datagrams');
  assert.match(lines, /name-1\|name-1\|\|9\|/, 'an end that was asked for by name');
  assert.match(lines, /^7 host-1\|/m, 'what a host counted');
  for (let level = 0; level < 7; level++)
    assert.match(lines, new RegExp(`^${level} [^|]*\\|\\(other\\)\\|`, 'm'), `level ${level} is over its budget`);
});

test('a reducer that takes the wrong one of two late ends is caught', async (context) => {
  const [failure] = failuresOf(await compileEdited('reducer', [EDIT]));
  assert(failure !== undefined);
  context.diagnostic(failure);
});
