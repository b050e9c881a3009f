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
const TRANSPORTS = ['tcp', 'udp'] as const;
const attribute = z.strictObject({
  id: text,
  name: text,
  levels: z.array(z.enum(['id', 'az', 'role'])).optional(),
  cardinality: z.enum(['fine', 'careful', 'avoid']),
  description: text,
  profiles: z.strictObject({ obi: text.optional(), 'network-explorer': text.optional() }).optional(),
});
const metric = z.strictObject({
  id: text,
  instrument,
  unit: text,
  value: z.array(text).min(1),
  attributes: z.array(text),
  description: text,
  /** Of edges with another transport the metric says nothing. */
  transport: z.enum(TRANSPORTS).optional(),
  profiles: z.strictObject({
    otel: text,
    obi: text.optional(),
    /** A name for each transport, or one for all. */
    'network-explorer': z.union([text, z.strictObject({ tcp: text, udp: text })]).optional(),
  }),
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
/** What the `code` of a tally means: host/export/tally-codes.ts puts each into words. */
const CODES = [
  'close_reason',
  'retransmit_kind',
  'connection_phase',
  'errno',
  'port',
  'drop_reason',
  'dns_answer',
  'shed_step',
] as const;
const tally = z.strictObject({
  kind: text,
  id: text,
  subject: z.enum(['edge', 'host', 'edge_or_host']),
  instrument: z.enum(['counter', 'exponential_histogram']),
  unit: text,
  code: z.enum(CODES).optional(),
  label: z.array(text).min(1).optional(),
  /** First and last upper bound of the explicit buckets in Prometheus, as exponents of 2 in seconds. */
  bounds: z.tuple([z.int(), z.int()]).optional(),
  attributes: z.array(text),
  description: text,
  profiles: z.strictObject({ otel: text, obi: text.optional(), 'network-explorer': text.optional() }),
});
const document = z.strictObject({
  attributes: z.array(attribute),
  metrics: z.array(metric),
  tallies: z.array(tally),
  self_metrics: z.array(selfMetric),
});

export type Metrics = z.infer<typeof document>;

/** A kind's bit in a word of 64 says whether it is known, and whether it samples. */
const TALLY_KIND_MAX = 63n;

/** `points`: the schema whose EdgePoint feeds the metrics; `wire`: the one with TallyKind. Throws with the id of whatever is wrong. */
export function readMetrics(yaml: string, points: Schema, wire: Schema): Metrics {
  const metrics = document.parse(parse(yaml));
  const attributes = uniqueIds(metrics.attributes);
  uniqueIds([...metrics.metrics, ...metrics.tallies]);
  uniqueIds(metrics.self_metrics);
  const fields = new Set(points.structs.get('EdgePoint')?.fields.map((field) => field.name));
  for (const item of [...metrics.metrics, ...metrics.tallies, ...metrics.self_metrics]) {
    for (const id of item.attributes)
      if (!attributes.has(id)) throw new Error(`metrics.yaml, ${item.id}: no attribute ${id}`);
  }
  checkTallies(metrics.tallies, wire);
  for (const item of metrics.metrics) {
    for (const name of item.value)
      if (!fields.has(name)) throw new Error(`metrics.yaml, ${item.id}: EdgePoint has no ${name}`);
  }
  return metrics;
}

function checkTallies(tallies: Metrics['tallies'], wire: Schema): void {
  uniqueIds(tallies.map(({ kind }) => ({ id: kind })));
  for (const item of tallies) {
    const value = kindValue(wire, item.kind);
    if (value === undefined || value === 0n || value > TALLY_KIND_MAX)
      throw new Error(`metrics.yaml, ${item.id}: TallyKind has no ${item.kind} from 1 to ${TALLY_KIND_MAX}`);
    for (const id of item.label ?? [])
      if (!item.attributes.includes(id))
        throw new Error(`metrics.yaml, ${item.id}: ${id} is not one of its attributes`);
  }
}

function kindValue(wire: Schema, kind: string): bigint | undefined {
  const values = wire.enums.find(({ name }) => name === 'TallyKind')?.values;
  const value = values?.find(({ name }) => name === kind)?.value;
  return value === undefined ? undefined : BigInt(value);
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
export type Transport = ${TRANSPORTS.map((name) => `'${name}'`).join(' | ')};
export type AttributeId = keyof typeof ATTRIBUTES;
export type MetricId = keyof typeof METRICS;
export type SelfMetricId = keyof typeof SELF_METRICS;
export type TallyMetricId = keyof typeof TALLIES;
export type TallyCode = ${CODES.map((name) => `'${name}'`).join(' | ')};

export interface Attribute {
  /** SIDE stands for \`source\` or \`destination\`: such an attribute exists once for each end. */
  readonly name: string;
  /** Kinds of level that carry it; absent = not an attribute of an end. */
  readonly levels?: readonly ('id' | 'az' | 'role')[];
  readonly cardinality: 'fine' | 'careful' | 'avoid';
  readonly description: string;
  /** Names in profiles that have their own. There SIDE is \`src\` or \`dst\` (obi), \`source\` or \`dest\` (network-explorer). */
  readonly profiles?: Readonly<Partial<Record<Profile, string>>>;
}

export interface Metric {
  readonly instrument: Instrument;
  readonly unit: string;
  /** Fields of an EdgePoint; two or more are told apart by an attribute. */
  readonly value: readonly (keyof EdgePoint)[];
  readonly attributes: readonly AttributeId[];
  readonly description: string;
  /** Of edges with another transport it says nothing. */
  readonly transport?: Transport;
  /** Name in each profile that emits it, or a name for each transport. */
  readonly profiles: Readonly<Partial<Record<Profile, string | Readonly<Record<Transport, string>>>>>;
  /** Name of profile otel in Prometheus. */
  readonly prometheus: string;
}

/** What ends or hosts count beyond their totals (wire.Tally). */
export interface TallyMetric {
  readonly kind: TallyKind;
  /** A histogram is of nanoseconds, told in seconds. */
  readonly instrument: 'counter' | 'exponential_histogram';
  readonly unit: string;
  readonly code?: TallyCode;
  /** The attributes whose values are the words of the label. */
  readonly label?: readonly AttributeId[];
  /** First and last upper bound in Prometheus, as exponents of 2, in seconds. */
  readonly bounds?: readonly [number, number];
  readonly attributes: readonly AttributeId[];
  readonly description: string;
  readonly profiles: Readonly<Partial<Record<Profile, string>>>;
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

export function writeMetricsTs({ attributes, metrics, tallies, self_metrics }: Metrics, wire: Schema): string {
  return [
    `// ${generatedFrom('metrics.yaml')}`,
    `import type { EdgePoint } from '../../wire/gen/records-layout.ts';`,
    `import type { TallyKind } from '../../wire/gen/wire-layout.ts';`,
    '',
    TYPES,
    constant('ATTRIBUTES', 'Readonly<Record<string, Attribute>>', attributes),
    constant(
      'METRICS',
      'Readonly<Record<string, Metric>>',
      metrics.map((item) => ({ ...item, value: item.value.map(camelCase), prometheus: inPrometheus(item) })),
    ),
    constant(
      'TALLIES',
      'Readonly<Record<string, TallyMetric>>',
      tallies.map(({ id, kind, label, subject: _, ...rest }) => ({
        id,
        kind: Number(kindValue(wire, kind)),
        ...rest,
        ...(label && { label: label.map(camelCase) }),
        prometheus: inPrometheus(rest),
      })),
    ),
    constant(
      'SELF_METRICS',
      'Readonly<Record<string, SelfMetric>>',
      self_metrics.map((item) => ({ ...item, prometheus: prometheusName(item) })),
    ),
  ].join('\n');
}

/** For the stages: which kinds they know, and which of them sample. */
export function writeTallyKindsAs({ tallies }: Metrics, wire: Schema): string {
  const bits = (items: Metrics['tallies']): string =>
    `0x${items.reduce((word, { kind }) => word | (1n << (kindValue(wire, kind) ?? 0n)), 0n).toString(16)}`;
  const sampling = tallies.filter(({ instrument }) => instrument === 'exponential_histogram');
  return [
    `// ${generatedFrom('metrics.yaml')}`,
    '',
    '/** Bit k is set when wire.TallyKind k is known. */',
    `export const TALLY_KINDS: u64 = ${bits(tallies)};`,
    '/** The kinds whose `sum` is of samples. */',
    `export const SAMPLED_TALLY_KINDS: u64 = ${bits(sampling)};`,
    '',
  ].join('\n');
}

function inPrometheus({
  profiles,
  unit,
  instrument,
}: { profiles: { otel: string } } & Pick<Metrics['metrics'][number], 'unit' | 'instrument'>): string {
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
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  const members = Object.entries(value ?? {}).map(
    ([key, item]) => `${/^\w+$/.test(key) ? key : `'${key}'`}: ${literal(item)}`,
  );
  return `{ ${members.join(', ')} }`;
}

export function writeMetricsPage({ attributes, metrics, tallies, self_metrics }: Metrics): string {
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
        'transport',
        'further attributes',
        'what',
        ...PROFILES.slice(1).map((name) => `profile \`${name}\``),
      ],
      metrics.map((item) => [
        ...[code(item.profiles.otel), code(inPrometheus(item))],
        ...[item.instrument, code(item.unit), item.transport ?? 'all', namesOf(item.attributes), item.description],
        ...PROFILES.slice(1).map((name) => namesIn(item.profiles[name])),
      ]),
    ),
    '## Tallies',
    '',
    'What single ends count beyond their totals. Each carries the attributes of its edge, as above, and `tributary.side`: the end',
    'that counted, client or server. What a host counts and no socket of it carries `host.name` in their place.',
    '',
    table(
      ['profile `otel`', 'in Prometheus', 'instrument', 'unit', 'of', 'further attributes', 'what'],
      tallies.map((item) => [
        ...[code(item.profiles.otel), code(inPrometheus(item)), item.instrument, code(item.unit)],
        ...[item.subject.replaceAll('_', ' '), namesOf(item.attributes), item.description],
      ]),
    ),
    '## Attributes',
    '',
    'SIDE is `source` (the client) or `destination` (the server). Cardinality says whether a backend that charges per series',
    'should keep the attribute: fine, careful, avoid. Labels in Prometheus have underscores for dots. Where another profile has a name of',
    'its own, SIDE is `src` or `dst` in `obi`, `source` or `dest` in `network-explorer`.',
    '',
    table(
      ['attribute', 'levels', 'cardinality', 'what', ...PROFILES.slice(1).map((name) => `profile \`${name}\``)],
      attributes.map((item) => [
        ...[code(item.name), item.levels?.join(', ') ?? 'all', item.cardinality, item.description],
        ...[namesIn(item.profiles?.obi), namesIn(item.profiles?.['network-explorer'])],
      ]),
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

function namesIn(names: string | Record<string, string> | undefined): string {
  if (names === undefined) return '–';
  return typeof names === 'string' ? code(names) : Object.values(names).map(code).join(', ');
}

function code(name: string): string {
  return `\`${name}\``;
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`)
    .join('');
}
