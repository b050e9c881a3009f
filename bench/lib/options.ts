// Options whose values are numbers or names of a list; a wrong one ends the run with exit code 2 and says why.

/** `bench`: the name of the benchmark, for the message. */
export function positive(bench: string, option: string, text: string): number {
  const value = Number(text);
  return Number.isInteger(value) && value > 0 ? value : refuse(bench, option, text, 'a whole number above 0 is needed');
}

/** A list with commas. */
export function positives(bench: string, option: string, text: string): number[] {
  return text.split(',').map((part) => positive(bench, option, part));
}

/** Those of `known` that the list with commas names, in the order of `known`. */
export function choices<T extends string>(bench: string, option: string, text: string, known: readonly T[]): T[] {
  const named = text.split(',');
  const unknown = named.find((name) => !known.some((each) => each === name));
  if (unknown !== undefined) refuse(bench, option, text, `known are ${known.join(', ')}`);
  return known.filter((each) => named.includes(each));
}

function refuse(bench: string, option: string, text: string, why: string): never {
  console.error(`bench ${bench}: --${option} ${text}: ${why}`);
  process.exit(2);
}
