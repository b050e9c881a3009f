// What ends and hosts counted beyond the columns of an edge, as the API answers it.
import { z } from 'zod';
import type { EdgeRow } from '../export/edge-rows.ts';
import { sortedTallies, type Tally as TallySum } from '../export/tallies.ts';
import { attributesOf, tallyMetric } from '../export/tally-metrics.ts';
import { HistogramSchema } from './histogram-answer.ts';

const TallySchema = z
  .strictObject({
    metric: z.string().describe('As exported under the profile otel; docs/metrics.md says what it counts.'),
    attributes: z
      .record(z.string(), z.union([z.string(), z.number()]))
      .describe(
        'What tells it apart from others of its edge or host: tributary.side, error.type, dns.question.name ...',
      ),
    count: z.int().min(0),
    seconds: z.number().nullable().describe('Sum of the samples; null of what only counts.'),
    histogram: HistogramSchema.nullable().describe('Null of what only counts, and at levels that keep none.'),
  })
  .meta({ id: 'Tally' });

export const TalliesSchema = z.array(TallySchema);
export type TallyAnswer = z.infer<typeof TallySchema>;

const NS_PER_S = 1e9;

/** Those of a row, in the order of wire.TallyKind; what a later version told has no name here and is left out. */
export function toTallies({ tallies }: EdgeRow): TallyAnswer[] {
  return sortedTallies(tallies).flatMap((tally) => {
    const answer = toTally(tally);
    return answer === undefined ? [] : [answer];
  });
}

function toTally(tally: TallySum): TallyAnswer | undefined {
  const metric = tallyMetric(tally.kind);
  if (metric === undefined) return undefined;
  const attributes = attributesOf(metric, tally) as TallyAnswer['attributes'];
  const isSampled = metric.instrument === 'exponential_histogram';
  return {
    metric: metric.profiles.otel ?? metric.prometheus,
    attributes,
    count: tally.count,
    seconds: isSampled ? tally.sum / NS_PER_S : null,
    histogram: tally.histogram ?? null,
  };
}
