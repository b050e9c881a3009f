// The flags of `tributary reducer`, checked once. Each error names its flag and what would work.
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { LEVEL_NAMES, parseLevel } from '../export/levels.ts';
import { parseDuration } from '../lib/duration.ts';
import { UsageError } from '../lib/usage-error.ts';
import { parseTlsFiles } from '../tls/tls-options.ts';
import { parseListenAddress } from '../wire/transport/address.ts';
import type { ReducerServiceOptions } from './reducer-service.ts';

const WINDOW_NS_MIN = 1_000_000_000n;
const WINDOW_NS_MAX = 300_000_000_000n;
/** As many as reducer.wasm has channels for. */
export const WORKER_COUNT_MAX = 64;
export const DEFAULT_WINDOW = '10s';
export const DEFAULT_LATENESS = '5s';

const duration = (minNs: bigint, maxNs: bigint, range: string) =>
  z.string().transform((text, context) => {
    const durationNs = parseDuration(text);
    if (durationNs !== undefined && durationNs >= minNs && durationNs <= maxNs) return durationNs;
    context.addIssue(`"${text}" is not a duration from ${range}, such as 10s`);
    return z.NEVER;
  });

const level = z.string().transform((text, context) => {
  const name = parseLevel(text);
  if (name !== undefined) return name;
  context.addIssue(`"${text}" is not one of ${Object.keys(LEVEL_NAMES).join(', ')}`);
  return z.NEVER;
});

const scraped = z.string().transform((text, context) => {
  const address = parseListenAddress(text);
  if ('port' in address) return address;
  context.addIssue(`"${text}": a Prometheus scrapes HOST:PORT, not a unix socket`);
  return z.NEVER;
});

const workers = z.coerce.number('has to be a number').int('has to be whole').min(1, 'has to be at least 1');

const FLAGS = z.strictObject({
  listen: z.array(z.string().transform(parseListenAddress)).min(1, 'needs an address'),
  api: z.string().transform(parseListenAddress),
  workers: workers.max(WORKER_COUNT_MAX, `has to be at most ${WORKER_COUNT_MAX}`),
  window: duration(WINDOW_NS_MIN, WINDOW_NS_MAX, '1s to 5m'),
  lateness: duration(1n, WINDOW_NS_MAX, '1ms to 5m'),
  level: z.array(level).min(1, 'needs a level'),
  insecure: z.boolean(),
  tlsCa: z.string().optional(),
  tlsCert: z.string().optional(),
  tlsKey: z.string().optional(),
  apiTokenFile: z.string().optional(),
  prometheusListen: scraped.optional(),
});

/** As commander hands them over. */
export type ReducerFlags = z.input<typeof FLAGS>;

/** One worker for each processor, up to eight; more have to be asked for. */
export function defaultWorkers(): string {
  return String(Math.min(8, availableParallelism()));
}

/** Throws UsageError. */
export function parseReducerFlags(flags: ReducerFlags): ReducerServiceOptions {
  const result = FLAGS.safeParse(flags);
  if (!result.success) {
    const [{ path, message }] = result.error.issues;
    throw new UsageError('TRB_OPTION', `--${String(path[0])}: ${message}`);
  }
  const { listen, api, workers: workerCount, window, lateness, level: levels, insecure } = result.data;
  const { tlsCa: ca, tlsCert: cert, tlsKey: key, apiTokenFile, prometheusListen: prometheus } = result.data;
  const tls = parseTlsFiles({ ca, cert, key }, insecure);
  return {
    ...{ listen, api, workers: workerCount, windowNs: window, latenessNs: lateness, levels, insecure },
    ...(tls === undefined ? {} : { tls }),
    ...(apiTokenFile === undefined ? {} : { apiTokenFile }),
    ...(prometheus === undefined ? {} : { prometheus }),
  };
}
