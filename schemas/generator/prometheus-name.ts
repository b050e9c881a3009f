// Names of OpenTelemetry as Prometheus has them.
// https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1

/** UCUM units as words; a unit in braces only says what is counted and is left out. */
const UNIT_WORDS: Readonly<Record<string, string>> = { By: 'bytes', s: 'seconds', '1': 'ratio' };

export interface NamedMetric {
  name: string;
  unit: string;
  instrument: string;
}

/** Characters become underscores, the unit and a counter's `total` are the last words, unless they are there. Throws for a unit without a word. */
export function prometheusName({ name, unit, instrument }: NamedMetric): string {
  const words = name.split(/[^a-zA-Z0-9]+/);
  if (!/^\{.*\}$/.test(unit)) {
    const word = UNIT_WORDS[unit];
    if (word === undefined) throw new Error(`metrics.yaml, ${name}: no word for the unit ${unit}`);
    if (!words.includes(word)) words.push(word);
  }
  if (instrument === 'counter' && words.at(-1) !== 'total') words.push('total');
  return words.join('_');
}
