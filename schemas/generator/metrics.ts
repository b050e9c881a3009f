// schemas/metrics.yaml as typed constants for the exporter and as a page for people. A metric that names an attribute or a field of
// EdgePoint that does not exist stops the generator.
import { parse } from 'yaml';
import { z } from 'zod';
import { camelCase, generatedFrom } from './names.ts';
import { prometheusName } from './prometheus-name.ts';
import type { Schema } from './schema.ts';

const PROFILES = ['otel', 'obi', 'network-explorer'] as const;
const instrument = z.enum(['counter', 'updowncounter', 'gauge', 'exponential_histogram']);
const text = z.string().min(1);
const attribute = z.strictObject({
  id: text,
  name: text,
  levels: z.array(z.enum(['id', 'az', 'role'])).optional(),
  cardinality: z.enum(['fine', 'careful', 'avoid']),
  description: text,
});
const metric = z.strictObject({
  id: text,
  instrument,
  unit: text,
  value: z.array(text).min(1),
  attributes: z.array(text),
  description: text,
  profiles: z.strictObject({ otel: text, obi: text.optional(), 'network-explorer': text.optional() }),
});
const selfMetric = z.strictObject({
  id: text,
  name: text,
  instrument,
  unit: text,
  source: text,
  attributes: z.array(text),
  description: text,
});
const document = z.strictObject({
  attributes: z.array(attribute),
  metrics: z.array(metric),
  self_metrics: z.array(selfMetric),
});

export type Metrics = z.infer<typeof document>;

/** `points`: the schema whose EdgePoint feeds the metrics. Throws with the id of whatever is wrong. */
export function readMetrics(yaml: string, points: Schema): Metrics {
  const metrics = document.parse(parse(yaml));
  const attributes = uniqueIds(metrics.attributes);
  uniqueIds(metrics.metrics);
  uniqueIds(metrics.self_metrics);
  const fields = new Set(points.structs.get('EdgePoint')?.fields.map((field) => field.name));
  for (const item of [...metrics.metrics, ...metrics.self_metrics]) {
    for (const id of item.attributes)
      if (!attributes.has(id)) throw new Error(`metrics.yaml, ${item.id}: no attribute ${id}`);
  }
  for (const item of metrics.metrics) {
    for (const name of item.value)
      if (!fields.has(name)) throw new Error(`metrics.yaml, ${item.id}: EdgePoint has no ${name}`);
  }
  return metrics;
}

function uniqueIds(items: { id: string }[]): Set<string> {
  const ids = new Set<string>();
  for (const { id } of items) {
    if (ids.has(id)) throw new Error(`metrics.yaml: ${id} is there twice`);
    ids.add(id);
  }
  return ids;
}

const TYPES = `export type Profile = ${PROFILES.map((profile) => `'${profile}'`).join(' | ')};
export type Instrument = ${instrument.options.map((name) => `'${name}'`).join(' | ')};
export type AttributeId = keyof typeof ATTRIBUTES;
export type MetricId = keyof typeof METRICS;
export type SelfMetricId = keyof typeof SELF_METRICS;

export interface Attribute {
  /** SIDE stands for \`source\` or \`destination\`: such an attribute exists once for each end. */
  readonly name: string;
  /** Kinds of level that carry it; absent = not an attribute of an end. */
  readonly levels?: readonly ('id' | 'az' | 'role')[];
  readonly cardinality: 'fine' | 'careful' | 'avoid';
  readonly description: string;
}

export interface Metric {
  readonly instrument: Instrument;
  readonly unit: string;
  /** Fields of an EdgePoint; two or more are told apart by an attribute. */
  readonly value: readonly (keyof EdgePoint)[];
  readonly attributes: readonly AttributeId[];
  readonly description: string;
  /** Name in each profile that emits it. */
  readonly profiles: Readonly<Partial<Record<Profile, string>>>;
  /** Name of profile otel in Prometheus. */
  readonly prometheus: string;
}

export interface SelfMetric {
  readonly name: string;
  readonly prometheus: string;
  readonly instrument: Instrument;
  readonly unit: string;
  /** The component that counts. */
  readonly source: string;
  readonly attributes: readonly AttributeId[];
  readonly description: string;
}
`;

export function writeMetricsTs({ attributes, metrics, self_metrics }: Metrics): string {
  return [
    `// ${generatedFrom('metrics.yaml')}`,
    `import type { EdgePoint } from '../../wire/gen/records-layout.ts';`,
    '',
    TYPES,
    constant('ATTRIBUTES', 'Readonly<Record<string, Attribute>>', attributes),
    constant(
      'METRICS',
      'Readonly<Record<string, Metric>>',
      metrics.map((item) => ({ ...item, value: item.value.map(camelCase), prometheus: inPrometheus(item) })),
    ),
    constant(
      'SELF_METRICS',
      'Readonly<Record<string, SelfMetric>>',
      self_metrics.map((item) => ({ ...item, prometheus: prometheusName(item) })),
    ),
  ].join('\n');
}

function inPrometheus({ profiles, unit, instrument }: Metrics['metrics'][number]): string {
  return prometheusName({ name: profiles.otel, unit, instrument });
}

/** An object by id. Ids become camelCase, here and where attributes refer to them. */
function constant(name: string, type: string, items: ({ id: string; attributes?: string[] } & object)[]): string {
  const entries = items.map(({ id, attributes, ...rest }) => {
    const members = Object.entries({ ...rest, ...(attributes && { attributes: attributes.map(camelCase) }) });
    return `  ${camelCase(id)}: {\n${members.map(([key, value]) => `    ${key}: ${literal(value)},\n`).join('')}  },\n`;
  });
  return `export const ${name} = {\n${entries.join('')}} as const satisfies ${type};\n`;
}

function literal(value: unknown): string {
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  const members = Object.entries(value ?? {}).map(
    ([key, item]) => `${/^\w+$/.test(key) ? key : `'${key}'`}: ${literal(item)}`,
  );
  return `{ ${members.join(', ')} }`;
}

export function writeMetricsPage({ attributes, metrics, self_metrics }: Metrics): string {
  const nameOf = (id: string): string => code(attributes.find((item) => item.id === id)?.name ?? id);
  const namesOf = (ids: string[]): string => ids.map(nameOf).join(', ') || '–';
  return [
    `<!-- ${generatedFrom('metrics.yaml')} -->`,
    '# Metrics and attributes',
    '',
    'Every metric carries the attributes of both ends, `tributary.level`, `network.transport` and, where it is known,',
    '`server.port`; the tables name what comes on top. A profile without a name does not emit the metric.',
    '[prometheus.md](prometheus.md) says how a Prometheus gets them.',
    '',
    '## Traffic',
    '',
    table(
      [
        'profile `otel`',
        'in Prometheus',
        'instrument',
        'unit',
        'further attributes',
        'what',
        ...PROFILES.slice(1).map((name) => `profile \`${name}\``),
      ],
      metrics.map((item) => [
        ...[code(item.profiles.otel), code(inPrometheus(item))],
        ...[item.instrument, code(item.unit), namesOf(item.attributes), item.description],
        ...PROFILES.slice(1).map((name) => (item.profiles[name] === undefined ? '–' : code(item.profiles[name]))),
      ]),
    ),
    '## Attributes',
    '',
    'SIDE is `source` (the client) or `destination` (the server). Cardinality says whether a backend that charges per series',
    'should keep the attribute: fine, careful, avoid. Labels in Prometheus have underscores for dots.',
    '',
    table(
      ['attribute', 'levels', 'cardinality', 'what'],
      attributes.map((item) => [code(item.name), item.levels?.join(', ') ?? 'all', item.cardinality, item.description]),
    ),
    "## Tributary's own telemetry",
    '',
    table(
      ['metric', 'in Prometheus', 'instrument', 'unit', 'counted by', 'attributes', 'what'],
      self_metrics.map((item) => [
        ...[
          code(item.name),
          code(prometheusName(item)),
          item.instrument,
          code(item.unit),
          item.source,
          namesOf(item.attributes),
          item.description,
        ],
      ]),
    ),
  ].join('\n');
}

function code(name: string): string {
  return `\`${name}\``;
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`)
    .join('');
}
