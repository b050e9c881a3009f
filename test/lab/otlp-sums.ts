// Reads what the OpenTelemetry Collector's file exporter wrote, one JSON document a line, and sums the delta points of one metric.
import { readFileSync } from 'node:fs';

interface KeyValue {
  key: string;
  value: { stringValue?: string; intValue?: string };
}

interface NumberPoint {
  attributes?: KeyValue[];
  startTimeUnixNano: string;
  timeUnixNano: string;
  asInt?: string;
  asDouble?: number;
}

interface OtlpDocument {
  resourceMetrics: {
    resource: { attributes: KeyValue[] };
    scopeMetrics: { metrics: { name: string; sum?: { dataPoints: NumberPoint[] } }[] }[];
  }[];
}

export interface SumPoint {
  metric: string;
  /** service.instance.id: the incarnation of the reducer. */
  incarnation: string;
  startNs: bigint;
  endNs: bigint;
  attributes: Record<string, string>;
  value: number;
}

/** Every point of every sum in the file, in order of arrival. What follows the last end of a line is still being written. */
export function readSumPoints(path: string): SumPoint[] {
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.flatMap((line) => (JSON.parse(line) as OtlpDocument).resourceMetrics.flatMap(pointsOf));
}

function pointsOf({ resource, scopeMetrics }: OtlpDocument['resourceMetrics'][number]): SumPoint[] {
  const incarnation = plain(resource.attributes)['service.instance.id'];
  const metrics = scopeMetrics.flatMap((scope) => scope.metrics);
  return metrics.flatMap((metric) =>
    (metric.sum?.dataPoints ?? []).map((point) => ({
      metric: metric.name,
      incarnation,
      startNs: BigInt(point.startTimeUnixNano),
      endNs: BigInt(point.timeUnixNano),
      attributes: plain(point.attributes ?? []),
      value: point.asInt === undefined ? (point.asDouble ?? 0) : Number(point.asInt),
    })),
  );
}

function plain(attributes: KeyValue[]): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue ?? '']));
}
