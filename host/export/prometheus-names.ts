// Names of OpenTelemetry as Prometheus has them, as far as its stock serializer leaves them alone: it makes dots and other characters
// underscores and appends _total, but does not append units.
// https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata-1

/** UCUM units of schemas/metrics.yaml as words; a unit in braces only says what is counted and is left out. */
const UNIT_WORDS: Readonly<Record<string, string>> = { By: 'bytes', s: 'seconds', '1': 'ratio' };

/** `name` with its unit as last word, unless it has that word already. Throws when the unit has no word here. */
export function withUnit(name: string, unit: string): string {
  if (/^\{.*\}$/.test(unit)) return name;
  const word = UNIT_WORDS[unit];
  if (word === undefined) throw new Error(`the unit ${unit} of ${name} has no word for Prometheus`);
  return name.split(/[._]/).includes(word) ? name : `${name}.${word}`;
}
