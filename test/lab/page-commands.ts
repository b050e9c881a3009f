/**
 * The commands of a page of documentation, and what it says they print. A block ```console holds commands, each a line that begins with `$ `, and the
 * lines that it prints. ```console background: commands that go on while the next ones run. ```yaml NAME: a file.
 */
export type PageStep =
  | { kind: 'command'; command: string; output: string[]; isBackground: boolean }
  | { kind: 'file'; name: string; text: string };

const BLOCK = /^```(console|console background|yaml \S+)\n(.*?)^```$/gms;

export function readPage(markdown: string): PageStep[] {
  return [...markdown.matchAll(BLOCK)].flatMap(([, info, text]): PageStep[] => {
    const [language, word] = info.split(' ');
    return language === 'console' ? readCommands(text, word === 'background') : [{ kind: 'file', name: word, text }];
  });
}

function readCommands(text: string, isBackground: boolean): PageStep[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command, ...output] = part.trimEnd().split('\n');
      return { kind: 'command', command, output, isBackground };
    });
}

/** A cell of a table or a number of a sentence: nothing, or a count, a size, a rate, a time, a share. */
const VALUE = String.raw`(?:-|\d[\d.]*(?: ?(?:[kMGT]?B(?:/s)?|us|ms|s|%))?)`;
const TIME = String.raw`\d{4}-\d\d-\d\dT[\d:.]+Z|@\[[\d.]+\]`;
const TOKEN = new RegExp(
  String.raw`(?<time>${TIME})|(?<value>(?<=^|\s)${VALUE}(?=$|\s))|(?<host>\bvm(?=[/:\s]))|(?<space>\s+)|.`,
  'g',
);

/** Names stay, amounts and times may be others, and columns as wide as they like. `hostName` stands where the page says `vm`. */
export function linePattern(line: string, hostName: string): RegExp {
  const parts = [...line.trim().matchAll(TOKEN)].map(({ 0: text, groups: { time, value, host, space } = {} }) => {
    if (time !== undefined) return `(?:${TIME})`;
    if (value !== undefined) return VALUE;
    if (space !== undefined) return String.raw`\s+`;
    return RegExp.escape(host === undefined ? text : hostName);
  });
  return new RegExp(String.raw`^\s*${parts.join('')}\s*$`);
}

/** The first line of the page that does not come, in order, in what was printed; undefined when all do. Others may stand between them. */
export function missingLine(expected: readonly string[], printed: string, hostName: string): string | undefined {
  const lines = printed.split('\n');
  let next = 0;
  return expected.find((line) => {
    const pattern = linePattern(line, hostName);
    while (next < lines.length) if (pattern.test(lines[next++])) return false;
    return true;
  });
}
