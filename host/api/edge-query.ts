// What can be asked of the edges, in one place for the API's query parameters, the flags of `tributary edges` and the words typed into the
// live view. Values of one parameter are alternatives; different parameters have to hold together.
import { z } from 'zod';
import { parseLevel } from '../export/levels.ts';
import { LEVELS } from './edge-answer.ts';
import { byteRate, SORT_KEYS } from './edge-order.ts';
import {
  type EdgeTest,
  hasFailed,
  ID_FIELDS,
  keepsIds,
  TERM_FIELDS,
  TERMS,
  TermError,
  type TermField,
} from './edge-terms.ts';
import { WINDOW_COUNT_MAX } from './window-store.ts';

const wholeNumber = (min: number, max: number) => {
  const message = `is a whole number from ${min} to ${max}`;
  return z.coerce.number(message).int(message).min(min, message).max(max, message);
};

const LEVEL_MESSAGE = `is one of ${LEVELS.join(', ')}`;
const level = z.preprocess(
  (value) => (typeof value === 'string' ? (parseLevel(value) ?? value) : value),
  z.enum(LEVELS, LEVEL_MESSAGE),
);
const windows = wholeNumber(1, WINDOW_COUNT_MAX);
const windowNumber = wholeNumber(0, 2 ** 32 - 1);
const UNTIL_TEXT = 'The last window; the newest that has closed when left out.';

const TERM_TEXTS: Record<TermField, string> = {
  match: 'Text, address or range, port or protocol of either end.',
  from: 'The client: a text of its names, an address or a range.',
  to: 'The server, likewise.',
  process: 'Name of the process at either end. An end named after its unit or container does not keep it.',
  unit: 'systemd unit at either end.',
  container: 'Container id at either end.',
  address:
    'Address of either end, or a range such as 10.0.0.0/8. An end that an agent names does not keep its address.',
  port: 'Port of the server, or a range such as 8000-8999.',
  protocol: 'tcp, udp, or the IANA number of another protocol.',
};

/** Alternatives: the parameter once or several times. */
function terms(field: TermField) {
  const term = z.string().transform((text, context): EdgeTest => {
    try {
      return TERMS[field](text);
    } catch (error) {
      if (!(error instanceof TermError)) throw error;
      context.addIssue(error.message);
      return z.NEVER;
    }
  });
  const listed = z.preprocess((value) => (Array.isArray(value) ? value : [value]), z.array(term).max(TERM_COUNT_MAX));
  return listed.optional().describe(TERM_TEXTS[field]);
}

const TERM_COUNT_MAX = 64;

const RATE_UNITS: Record<string, number> = {
  ...{ '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 },
};

const rate = z.string('is given once').transform((text, context) => {
  const match = /^(\d+(?:\.\d+)?) ?((?:[kMGT]|[KMGT]i)?)B?(?:\/s)?$/.exec(text);
  if (match !== null) return Number(match[1]) * RATE_UNITS[match[2]];
  context.addIssue(`"${text}" is not a rate in bytes per second, such as 500, 10kB or 1.5MiB`);
  return z.NEVER;
});

const RANGE = {
  level: level.default('az_az').describe('Level of the tree, client end first.'),
  windows: windows.default(1).describe('So many windows are added up.'),
  until: windowNumber.optional().describe(UNTIL_TEXT),
};

const FILTER_FIELDS = {
  match: terms('match'),
  from: terms('from'),
  to: terms('to'),
  process: terms('process'),
  unit: terms('unit'),
  container: terms('container'),
  address: terms('address'),
  port: terms('port'),
  protocol: terms('protocol'),
  failed: z
    .enum(['true', 'false'], 'is true or false')
    .default('false')
    .describe('Only edges on which a connect has failed.'),
  min_rate: rate.optional().describe('At least so many bytes per second, both ways together: 500, 10kB, 1.5MiB.'),
};

export const EdgesQuerySchema = z
  .strictObject({
    ...RANGE,
    by: z
      .enum(SORT_KEYS, `is one of ${SORT_KEYS.join(', ')}`)
      .optional()
      .describe('Highest first; in canonical order when left out.'),
    detail: z.enum(['tallies'], 'is tallies').optional().describe('Tells the tallies of each edge, too.'),
    limit: wholeNumber(1, 1_000_000).optional().describe('At most so many edges.'),
    ...FILTER_FIELDS,
  })
  .superRefine((query, context) => {
    for (const field of ID_FIELDS)
      if (query[field] !== undefined && !keepsIds(query.level))
        context.addIssue({
          code: 'custom',
          path: [field],
          message: `is not kept at ${query.level}: ask at ${ID_LEVELS}`,
        });
  });

/** Names of all parameters. */
export const EDGE_PARAMETERS = Object.keys(EdgesQuerySchema.shape) as (keyof EdgesQuery)[];

const ID_LEVELS = LEVELS.filter(keepsIds).join(', ');

export const HostsQuerySchema = z.strictObject({ windows: RANGE.windows, until: RANGE.until });

export const HistoryQuerySchema = z.strictObject({
  ...RANGE,
  windows: windows.default(60).describe('So many windows back.'),
  key: z
    .string('is the key of an edge')
    .min(1, 'is the key of an edge')
    .describe('Of the edge, from /api/v1/edges at the same level.'),
});

/** A client that waits longer asks again. */
export const WAIT_SECONDS_MAX = 60;

export const WindowsQuerySchema = z.strictObject({
  since: windowNumber.optional().describe('The last window that is known; without it the newest alone is answered.'),
  wait: wholeNumber(0, WAIT_SECONDS_MAX).default(0).describe('Seconds to wait for a window when there is none yet.'),
});

/** As it arrives: texts, lists of texts where a parameter was given several times. */
export type EdgesParameters = z.input<typeof EdgesQuerySchema>;
export type EdgesQuery = z.output<typeof EdgesQuerySchema>;
export type HistoryQuery = z.output<typeof HistoryQuerySchema>;
export type WindowsQuery = z.output<typeof WindowsQuerySchema>;

export type EdgeFilter = Pick<EdgesQuery, keyof typeof FILTER_FIELDS>;

/** True for edges that meet all that was asked. */
export function edgeTest(filter: EdgeFilter): EdgeTest {
  const tests = TERM_FIELDS.flatMap((field) => {
    const alternatives = filter[field];
    return alternatives === undefined
      ? []
      : [(edge: Parameters<EdgeTest>[0]) => alternatives.some((test) => test(edge))];
  });
  const { failed, min_rate: minRate } = filter;
  if (failed === 'true') tests.push(hasFailed);
  if (minRate !== undefined) tests.push((edge) => byteRate(edge) >= minRate);
  return (edge) => tests.every((test) => test(edge));
}

/** The first thing that is wrong with a query: its parameter and what is allowed. */
export function describeIssue(error: z.core.$ZodError): { parameter: string; message: string } {
  const [issue] = error.issues;
  if (issue.code === 'unrecognized_keys') return { parameter: issue.keys[0], message: 'is not a parameter' };
  return { parameter: String(issue.path[0]), message: issue.message };
}
