import { strict as assert } from 'node:assert';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AggregationTemporality, DataPointType, type ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { waitFor } from '../lab/wait.ts';
import { onFreePort } from './free-port.ts';
import { requirePart } from './go-program.ts';
import { startOtelCollector } from './otelcol.ts';

const part = await requirePart('otelcol');

test('an export confirmed to the exporter stands in the file of the collector, also across a restart', {
  skip: part.skip,
}, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'otelcol-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const lines = (): string[] => readFileSync(join(directory, 'otlp-metrics.jsonl'), 'utf8').split('\n').slice(0, -1);
  for (const [index, value] of [3, 2 ** 53 - 1].entries()) {
    const collector = await onFreePort((port) => startOtelCollector({ directory, port }));
    const result = await exportSum(`${collector.endpoint}/v1/metrics`, value);
    assert.equal(result.code, 0, String(result.error));
    // Not by stopping it: a collector that has just become ready may not listen to signals yet, and ends without writing.
    await waitFor(() => lines().length > index || undefined, 'the export in the file');
    await collector.stop();
  }
  assert.deepEqual(
    lines().map((line) => JSON.parse(line).resourceMetrics[0].scopeMetrics[0].metrics[0].sum),
    ['3', '9007199254740991'].map((asInt) => ({
      dataPoints: [
        {
          attributes: [{ key: 'role', value: { stringValue: 'client' } }],
          startTimeUnixNano: '1700000000000000000',
          timeUnixNano: '1700000010000000000',
          asInt,
        },
      ],
      aggregationTemporality: 1,
      isMonotonic: true,
    })),
  );
});

test('a port that is taken is told with the words of the collector', { skip: part.skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'otelcol-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const first = await onFreePort((port) => startOtelCollector({ directory, port }));
  const port = Number(new URL(first.endpoint).port);
  t.after(() => first.stop());
  await assert.rejects(startOtelCollector({ directory, port }), /address already in use/);
});

async function exportSum(url: string, value: number): Promise<{ code: number; error?: Error }> {
  const exporter = new OTLPMetricExporter({ url, temporalityPreference: AggregationTemporality.DELTA });
  const metrics: ResourceMetrics = {
    resource: resourceFromAttributes({ 'service.name': 'tributary' }),
    scopeMetrics: [
      {
        scope: { name: 'tributary' },
        metrics: [
          {
            descriptor: { name: 'bytes', description: '', unit: 'By', valueType: 0 },
            aggregationTemporality: AggregationTemporality.DELTA,
            dataPointType: DataPointType.SUM,
            isMonotonic: true,
            dataPoints: [
              { startTime: [1_700_000_000, 0], endTime: [1_700_000_010, 0], attributes: { role: 'client' }, value },
            ],
          },
        ],
      },
    ],
  };
  const { promise, resolve } = Promise.withResolvers<{ code: number; error?: Error }>();
  exporter.export(metrics, resolve);
  const result = await promise;
  await exporter.shutdown();
  return result;
}
