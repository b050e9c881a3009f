/**
 * `tributary up` as a person uses it: in a terminal of 80 columns and in one of 200, on real traffic, key by key. What is asserted is what
 * was on the screen. `SCREENS=write` keeps the screens in docs/live-view/.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fetchJson } from '../../host/api/client.ts';
import type { WindowsAnswer } from '../../host/api/edge-answer.ts';
import { type Fruit, Orchard, PORTS } from './orchard.ts';
import { Terminal, type TerminalSize } from './terminal.ts';
import { waitFor } from './wait.ts';

const MAIN = fileURLToPath(new URL('../../host/cmd/main.ts', import.meta.url));
const SCREENS = fileURLToPath(new URL('../../docs/live-view/', import.meta.url));
const PREFIX = process.env.SCREENS === 'write' ? 'fruit' : `zt${process.pid.toString(36)}`;

const directory = mkdtempSync(join(tmpdir(), 'tributary-view-'));
const orchard = new Orchard(directory, PREFIX);
before(() => orchard.start());
after(async () => {
  await orchard.stop();
  rmSync(directory, { recursive: true, force: true });
});

interface Walk {
  terminal: Terminal;
  api: { path: string };
  /** Keeps the screen, if they are to be kept. */
  keep: (what: string, lines: string[]) => void;
}

/** The view with the filter that leaves the orchard's edges, all three of which are there. */
async function startView(t: TestContext, size: TerminalSize): Promise<Walk> {
  const terminal = new Terminal();
  const path = join(directory, `api-${size.columns}.sock`);
  const kept: string[] = [];
  t.after(() => terminal.stop());
  const command = `'${process.execPath}' '${MAIN}' up --api unix:${path}`;
  await terminal.start(size);
  await terminal.run(command);
  await terminal.untilMatch(/edges at id_id by rate/);
  t.after(() => {
    if (process.env.SCREENS !== 'write') return;
    mkdirSync(SCREENS, { recursive: true });
    writeFileSync(join(SCREENS, `${size.columns}x${size.rows}.txt`), kept.join('\n'));
  });
  const keep = (what: string, lines: string[]): void => {
    kept.push(`${'═'.repeat(8)} ${what} ${'═'.repeat(Math.max(1, size.columns - 10 - what.length))}`, ...lines, '');
  };
  return { terminal, api: { path }, keep };
}

/** The rows of the table that are of the orchard, in their order. */
function fruitRows(lines: string[]): { fruit: Fruit; text: string }[] {
  return lines.flatMap((text) => {
    const fruit = (Object.keys(PORTS) as Fruit[]).find((name) => text.includes(`:${PORTS[name]} `));
    return fruit === undefined || text.includes('->') ? [] : [{ fruit, text }];
  });
}

/** Values of a column, which its right end finds: numbers with their unit. */
function column(lines: string[], title: string): string[] {
  const head = lines.find((line) => line.startsWith('CLIENT')) ?? '';
  const end = head.indexOf(title) + title.length;
  if (end === title.length - 1) return [];
  return fruitRows(lines).map(
    ({ text }) => /(?:[\d.<]+ (?:%|us|ms|s|[kM]?B\/s|refused)|[\d.]+|-)$/.exec(text.slice(0, end))?.[0] ?? '',
  );
}

function asNumber(text: string): number {
  const [value, unit = ''] = text.split(' ');
  const units: Record<string, number> = { ms: 1e3, s: 1e6, 'kB/s': 1e3, 'MB/s': 1e6 };
  return value === '-' ? 0 : Number(value.replace('<', '')) * (units[unit] ?? 1);
}

async function windowsClose(api: { path: string }, count: number): Promise<void> {
  const { newest } = await fetchJson<WindowsAnswer>(api, '/api/v1/windows');
  await waitFor(
    async () =>
      (await fetchJson<WindowsAnswer>(api, `/api/v1/windows?since=${newest}`)).windows.length >= count || undefined,
    `${count} windows to close`,
  );
}

function isDescending(values: number[]): boolean {
  return values.every((value, index) => index === 0 || value <= values[index - 1]);
}

/** Select Graphic Rendition 7 (ECMA-48, section 8.3.117). */
const INVERSE = '\u001b[7m';

const SIZES: TerminalSize[] = [
  { columns: 80, rows: 24 },
  { columns: 200, rows: 60 },
];

for (const size of SIZES)
  test(`each key does what it says in ${size.columns}x${size.rows}`, { timeout: 300_000 }, async (t) => {
    const { terminal, api, keep } = await startView(t, size);
    // A connection that only its client has told of when the window closes is an edge of its own in it, beside the three.
    const isAll = (lines: string[]): boolean => new Set(fruitRows(lines).map(({ fruit }) => fruit)).size === 3;

    await terminal.press('/');
    await terminal.type(PREFIX.slice(0, 2));
    await terminal.untilMatch(new RegExp(`^/${PREFIX.slice(0, 2)} *$`, 'm'));
    await terminal.type(`${PREFIX.slice(2)}-`);
    const typed = await terminal.until('the filter to leave the orchard alone', (lines) => {
      const isFiltered = lines[1].startsWith(`/${PREFIX}-`) && / 3 of \d+ edges| 3 edges/.test(lines[0]);
      return isFiltered && isAll(lines) ? lines : undefined;
    });
    keep(`/ ${PREFIX}- : filters as you type`, typed);
    assert.match(typed.at(-1) ?? '', /^Enter keeps the filter/);
    await terminal.press('Enter');
    await terminal.until('letters to be commands again', (lines) =>
      lines.at(-1)?.startsWith('r t x f a n sort') ? true : undefined,
    );
    for (const line of typed) assert.ok(line.length <= size.columns, line);

    // The share of retransmits is shown but their number sorts, and the rate is of both directions: of these only the first is known.
    const orders: [string, string, string, Fruit | undefined][] = [
      ['n', 'new', 'NEW', 'plum'],
      ['f', 'failures', 'FAILED', 'fig'],
      ['a', 'active', 'ACTIVE', 'peach'],
      ['x', 'retransmits', 'RETRANS', 'peach'],
      ['t', 'rtt', 'RTT', undefined],
      ['r', 'rate', 'SENT', 'peach'],
    ];
    for (const [key, by, title, first] of orders) {
      await terminal.press(key);
      const sorted = await terminal.until(`${key} to sort by ${by}`, (lines) => {
        if (!lines[0].includes(`by ${by}`) || !isAll(lines)) return undefined;
        const values = column(lines, title).map(asNumber);
        const isFirst = first === undefined ? isDescending(values) : fruitRows(lines)[0].fruit === first;
        return isFirst && values[0] > 0 ? lines : undefined;
      });
      keep(`${key} : sorts by ${by}`, sorted);
    }
    await terminal.press('f');
    const failing = await terminal.until('the failing edge on top', (lines) =>
      lines[0].includes('by failures') && fruitRows(lines)[0]?.fruit === 'fig' ? lines : undefined,
    );
    assert.match(failing.join('\n'), /FAILED/);

    await terminal.press('Down');
    await waitFor(
      async () => {
        const line = (await terminal.styledScreen()).split('\n').find((each) => each.includes(`:${PORTS.fig}`));
        return line?.includes(INVERSE) ? true : undefined;
      },
      'the cursor on the first edge',
      { detail: () => failing.join('\n') },
    );
    await terminal.press('Enter');
    const opened = await terminal.until('the failing edge to open', (lines) =>
      /^failed +refused \d+/m.test(lines.join('\n')) ? lines : undefined,
    );
    keep('Down Enter : opens the failing edge', opened);
    assert.match(opened.join('\n'), new RegExp(`^client +process ${PREFIX}-fig on `, 'm'));
    assert.match(opened.join('\n'), /^residual +not judged/m);
    await terminal.press('Escape');
    await terminal.until('the table again', (lines) => (isAll(lines) ? true : undefined));

    await terminal.press('r', 'Home', 'Enter');
    const busy = await terminal.until('the busiest edge to open', (lines) => {
      const text = lines.join('\n');
      // What the ends say apart takes the last row of a small screen, as long as more is under way in each window.
      const isCut = size.rows < 60 && /^apart/m.test(text);
      return /^client +process \S+-peach on/m.test(text) &&
        (isCut || /^rtt spread/m.test(text)) &&
        /^sent +[▁-█]*[▂-█]/m.test(text)
        ? lines
        : undefined;
    });
    keep('r Home Enter : opens the busiest edge', busy);
    const text = busy.join('\n');
    assert.match(text, /^seen by +both ends [1-9]\d*,/m);
    assert.match(text, /^rtt +least [\d.]+ (us|ms), mean [\d.]+ (us|ms), most/m);
    assert.match(text, /^sent +[\d.]+ [kM]?B, \d+ +[\d.]+ [kM]?B, \d+ +[\d.]+ [kM]?B, \d+$/m);
    assert.match(text, /^sent again +[1-9]\d* \([\d.]+ %\) +[1-9]\d* +0$/m);
    if (size.rows >= 60) assert.ok((text.match(/≤ [\d.]+ (us|ms)/g)?.length ?? 0) >= 2, 'a chart of several buckets');
    await terminal.press('Escape');
    await terminal.until('the table', (lines) => (isAll(lines) ? true : undefined));

    await terminal.press('l');
    await terminal.untilMatch(/edges at id_az by rate/);
    await terminal.press('L', 'L');
    const roles = await terminal.until('the roles', (lines) =>
      lines[0].includes('edges at role_role') && isAll(lines) ? lines : undefined,
    );
    keep('L L : the level above', roles);
    for (const { text: row } of fruitRows(roles)) assert.ok(row.startsWith(PREFIX), `a role without its host: ${row}`);
    await terminal.press('l');
    await terminal.untilMatch(/edges at id_id/);

    await terminal.press('p');
    const paused = await terminal.until('the pause', (lines) =>
      lines[0].includes('PAUSED') && isAll(lines) ? lines : undefined,
    );
    await windowsClose(api, 2);
    const before = fruitRows(await terminal.screen());
    await windowsClose(api, 2);
    assert.deepEqual(fruitRows(await terminal.screen()), before, 'the picture stays');
    await terminal.press('n');
    await terminal.until('a sorted picture of the same windows', (lines) =>
      lines[0].includes('PAUSED') && lines[0].includes('by new') && fruitRows(lines)[0]?.fruit === 'plum'
        ? true
        : undefined,
    );
    keep('p : pauses', paused);
    await terminal.press('p', 'r');
    await terminal.until('the picture to go on', (lines) => {
      const now = fruitRows(lines).map(({ text: row }) => row);
      return !lines[0].includes('PAUSED') && String(now) !== String(before.map(({ text: row }) => row))
        ? true
        : undefined;
    });

    await terminal.press('?');
    keep('? : help', await terminal.untilMatch(/^q \^C +quit$/m));
    await terminal.press('Escape');
    await terminal.until('the table instead of the help', (lines) => (isAll(lines) ? true : undefined));

    await terminal.press('/');
    await terminal.type(' port:x');
    await terminal.untilMatch(/"x" is not a port from 1 to 65535/);
    await terminal.press('Escape');
    await terminal.until('no filter', (lines) => (lines[1] === '' ? true : undefined));

    const other = { columns: size.columns + 15, rows: size.rows + 5 };
    await terminal.resize(other);
    const resized = await terminal.until('a frame of the new size', (lines) =>
      lines.length === other.rows && lines.at(-1)?.startsWith('r t x f a n sort') ? lines : undefined,
    );
    assert.match(resized[0], /^tributary on/);
    assert.equal(resized.filter((line) => line.startsWith('CLIENT')).length, 1);

    await terminal.press('q');
    const left = await terminal.untilMatch(/^ended with 0$/m);
    assert.doesNotMatch(left.join('\n'), /edges at/, 'nothing of the view stays');
    const { alternate, cursor, settings } = await terminal.state();
    assert.deepEqual([alternate, cursor], [false, true]);
    assert.match(settings, /[^-]icanon/);
    assert.match(settings, /[^-]echo /);
  });
