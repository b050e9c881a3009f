import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { AggregationTemporality } from '@opentelemetry/sdk-metrics';
import { isOtlpConfigured, temporalityFrom } from './otlp-environment.ts';

const { CUMULATIVE, DELTA } = AggregationTemporality;

test('an endpoint decides whether there is an exporter', () => {
  assert.equal(isOtlpConfigured({}), false);
  assert.equal(isOtlpConfigured({ OTEL_EXPORTER_OTLP_ENDPOINT: '' }), false);
  assert.equal(isOtlpConfigured({ OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'https://c:4318/v1/metrics' }), true);
});

test('what asks for the temporality may have any case', () => {
  const temporalities = ['delta', 'LowMemory', 'cumulative', '', undefined].map((preference) =>
    temporalityFrom({ OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: preference }),
  );
  assert.deepEqual(temporalities, [DELTA, DELTA, CUMULATIVE, CUMULATIVE, CUMULATIVE]);
});

test('values that the stock exporter understands are good, and empty ones are not set', () => {
  const good: Record<string, string[]> = {
    PROTOCOL: ['http/protobuf', ''],
    TIMEOUT: ['1', '2500.5', ''],
    COMPRESSION: ['gzip', 'none', ''],
    HEADERS: ['a=b', 'authorization=Basic%20YQ==, x-tenant = 1,', ''],
    CERTIFICATE: [import.meta.filename, ''],
  };
  for (const [name, texts] of Object.entries(good))
    for (const text of texts)
      for (const variable of [`OTEL_EXPORTER_OTLP_${name}`, `OTEL_EXPORTER_OTLP_METRICS_${name}`])
        assert.equal(isOtlpConfigured({ [variable]: text }), false, `${variable}=${text}`);
});

test('values for which the stock exporter would take a default in silence are refused, with their variable', () => {
  const bad: Record<string, string[]> = {
    ENDPOINT: ['localhost:4318', 'collector', 'http://'],
    PROTOCOL: ['grpc', 'http/json'],
    TIMEOUT: ['0', '-1', '10s', 'soon', 'Infinity'],
    COMPRESSION: ['zstd', 'GZIP'],
    HEADERS: ['secret', '=secret', 'a=', 'a=b,secret', 'two words=secret', 'a=secret%', 'a=secret%0a'],
    METRICS_TEMPORALITY_PREFERENCE: ['deltas', 'constructor'],
    CERTIFICATE: ['/nowhere/ca.pem'],
    CLIENT_CERTIFICATE: ['/nowhere/cert.pem'],
    CLIENT_KEY: ['/nowhere/key.pem'],
  };
  for (const [name, texts] of Object.entries(bad))
    for (const text of texts)
      for (const variable of [`OTEL_EXPORTER_OTLP_${name}`, `OTEL_EXPORTER_OTLP_METRICS_${name}`]) {
        if (variable.includes('METRICS_METRICS')) continue;
        assert.throws(
          () => isOtlpConfigured({ [variable]: text }),
          ({ code, message }) => code === 'TRB_OTLP' && message.startsWith(variable) && !message.includes('secret'),
          `${variable}=${text}`,
        );
      }
});
