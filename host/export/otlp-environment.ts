/**
 * The variables of OpenTelemetry that say whether and how there is an OTLP exporter. The stock exporter reads them itself, but takes a default
 * in silence for what it does not understand: another receiver, no authorization, the authorities of the system. So they are checked first.
 */
import { accessSync, constants } from 'node:fs';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { UsageError } from '../lib/usage-error.ts';

const TEMPORALITY = 'OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE';
/** `lowmemory` means delta for what we have: counters and histograms. */
const TEMPORALITIES: Readonly<Record<string, AggregationTemporality>> = {
  cumulative: AggregationTemporality.CUMULATIVE,
  delta: AggregationTemporality.DELTA,
  lowmemory: AggregationTemporality.DELTA,
};

/** Each answers what would work when `text` does not, without repeating what may be secret. */
const CHECKS: Readonly<Record<string, (text: string) => string | undefined>> = {
  ENDPOINT: (text) => {
    const url = URL.parse(text);
    return url?.protocol === 'http:' || url?.protocol === 'https:'
      ? undefined
      : 'use a URL such as http://127.0.0.1:4318';
  },
  PROTOCOL: (text) => (text === 'http/protobuf' ? undefined : 'only http/protobuf is supported'),
  TIMEOUT: (text) =>
    /^\d+(\.\d+)?$/.test(text) && Number(text) > 0 ? undefined : 'use milliseconds above 0, such as 10000',
  COMPRESSION: (text) => (text === 'gzip' || text === 'none' ? undefined : 'use gzip or none'),
  CERTIFICATE: checkFile,
  CLIENT_CERTIFICATE: checkFile,
  CLIENT_KEY: checkFile,
};

/** False without an endpoint. Throws UsageError TRB_OTLP with the first variable that the stock exporter would not follow. */
export function isOtlpConfigured(environment: NodeJS.ProcessEnv): boolean {
  for (const [name, check] of Object.entries(CHECKS))
    for (const [variable, text] of given(environment, name)) {
      const fix = check(text);
      if (fix !== undefined) throw new UsageError('TRB_OTLP', `${variable}=${text}: ${fix}`);
    }
  for (const [variable, text] of given(environment, 'HEADERS')) checkHeaders(variable, text);
  temporalityFrom(environment);
  return given(environment, 'ENDPOINT').length > 0;
}

/** Cumulative when nothing is asked for. Throws UsageError TRB_OTLP. */
export function temporalityFrom(environment: NodeJS.ProcessEnv): AggregationTemporality {
  const text = environment[TEMPORALITY]?.trim() || 'cumulative';
  const preference = text.toLowerCase();
  if (Object.hasOwn(TEMPORALITIES, preference)) return TEMPORALITIES[preference];
  throw new UsageError('TRB_OTLP', `${TEMPORALITY}=${text}: use ${Object.keys(TEMPORALITIES).join(', ')}`);
}

/** The variable for all signals and that for metrics, as far as they are set. Empty ones are not (OpenTelemetry, environment variables). */
function given(environment: NodeJS.ProcessEnv, name: string): [string, string][] {
  return [`OTEL_EXPORTER_OTLP_METRICS_${name}`, `OTEL_EXPORTER_OTLP_${name}`].flatMap(
    (variable): [string, string][] => {
      const text = environment[variable]?.trim() ?? '';
      return text === '' ? [] : [[variable, text]];
    },
  );
}

/** NAME=VALUE,…, values percent-encoded (OpenTelemetry, OTLP exporter). A header is often a secret: it is told by its place. */
function checkHeaders(variable: string, text: string): void {
  text.split(',').forEach((entry, index) => {
    if (entry.trim() === '' || isHeader(entry)) return;
    const fix = 'use NAME=VALUE, with commas between them and percent-encoding within';
    throw new UsageError('TRB_OTLP', `${variable}: entry ${index + 1} is no header: ${fix}`);
  });
}

function isHeader(entry: string): boolean {
  const [name, ...rest] = entry.split('=');
  const value = rest.join('=').trim();
  try {
    validateHeaderName(decodeURIComponent(name.trim()));
    validateHeaderValue('', decodeURIComponent(value));
  } catch {
    return false;
  }
  return value !== '';
}

function checkFile(path: string): string | undefined {
  try {
    accessSync(path, constants.R_OK);
  } catch {
    return 'name a file that this user may read';
  }
  return undefined;
}
