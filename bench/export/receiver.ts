// The other end of an export, in a process of its own: an OTLP receiver that counts data points, and a scraper that counts samples. It keeps nothing.

import { strict as assert } from 'node:assert';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { ReceiverNews, ReceiverOrder } from './order.ts';

/**
 * Field numbers of the messages from ExportMetricsServiceRequest to the data points (opentelemetry-proto, metrics/v1): resource_metrics, scope_metrics,
 * metrics, then gauge, sum, histogram, exponential_histogram or summary, of which data_points is the first.
 */
const PATH: readonly (readonly number[])[] = [[1], [2], [2], [5, 7, 9, 10, 11], [1]];

let points = 0;
let bytes = 0;

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  bytes += body.length;
  points += countPoints(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body, 0);
  response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
}).listen(0, '127.0.0.1', () => say({ kind: 'listening', port: (server.address() as AddressInfo).port }));

process.on('message', (order: ReceiverOrder) => {
  if (order.kind === 'scrape') void scrape(order.url);
  else {
    say({ kind: 'counted', points, bytes });
    points = 0;
    bytes = 0;
  }
});
process.on('disconnect', () => process.exit(0));

function countPoints(message: Uint8Array, depth: number): number {
  if (depth === PATH.length) return 1;
  let count = 0;
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited && PATH[depth].includes(field))
      count += countPoints(reader.bytes(), depth + 1);
    else reader.skip(type, field);
  }
  return count;
}

async function scrape(url: string): Promise<void> {
  const start = performance.now();
  const response = await fetch(url, { headers: { 'accept-encoding': 'identity' } });
  assert.equal(response.status, 200);
  const text = await response.text();
  const ms = performance.now() - start;
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  say({ kind: 'scraped', points: samples, bytes: Buffer.byteLength(text), ms });
}

function say(news: ReceiverNews): void {
  process.send?.(news);
}
