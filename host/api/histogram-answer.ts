import { z } from 'zod';

export const HistogramSchema = z
  .strictObject({ scale: z.int(), offset: z.int(), counts: z.array(z.int().min(0)) })
  .meta({
    id: 'Histogram',
    description:
      'Exponential histogram of seconds (OpenTelemetry metrics data model): counts[i] is the number of samples v with base^(offset+i) < v <= base^(offset+i+1), base = 2^(2^-scale).',
  });
