// What the guests answered, as text: kernel and object across, hooks and counts down.
import type { Answer } from './answer.ts';

const NOTHING = '-';

/** A count that was told as expected stands alone, another with what was expected. */
function showCount(answer: Answer, name: string): string {
  const count = answer.counts.find((item) => item.name === name);
  if (count === undefined) return NOTHING;
  return count.told === count.expected ? `${count.told}` : `${count.told}, not ${count.expected}`;
}

/** Every name that any of the lists has, in the order of the first list that has it. */
function unite(lists: string[][]): string[] {
  return [...new Set(lists.flat())];
}

function alignColumns(rows: string[][]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** One row a hook, with the means of the backend that served it, then one row a count. */
export function formatTable(answers: Answer[]): string {
  const hooks = unite(answers.map((answer) => answer.hooks.map(({ hook }) => hook)));
  const counts = unite(answers.map((answer) => answer.counts.map(({ name }) => name)));
  const means = (answer: Answer, name: string): string => {
    const status = answer.hooks.find(({ hook }) => hook === name);
    return (status?.attached && status.backend?.split('/')[0]) || NOTHING;
  };
  // Debian names the flavour and the processor behind the version.
  const versions = answers.map(({ kernel }) => kernel.split('-cloud-'));
  return alignColumns([
    ['kernel', ...versions.map(([version]) => version)],
    ['processor', ...versions.map(([, processor]) => processor)],
    ['object', ...answers.map(({ object }) => object)],
    ...hooks.map((name) => [name, ...answers.map((answer) => means(answer, name))]),
    ['', ...answers.map(() => '')],
    ...counts.map((name) => [name, ...answers.map((answer) => showCount(answer, name))]),
  ]);
}
