import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LISTENER_SIZE, type Listener } from './gen/wire-layout.ts';
import { decodeListeners, encodeListeners, LISTENER_COUNT_MAX } from './listeners.ts';
import { encodeBatch } from './struct-batch.ts';

const listener = (port: number, first = 0): Listener => ({
  address: Uint8Array.of(first, ...new Array(15).fill(0)),
  port,
  ipVersion: 6,
  netns: 4_026_531_840,
  pid: 7,
  comm: Uint8Array.from(Buffer.from('nginx'.padEnd(16, '\0'))),
});

test('listeners come back in the order of their ports, in whichever order they were found', () => {
  const [a, b, c] = [listener(443), listener(80, 1), listener(80)];
  assert.deepEqual(decodeListeners(encodeListeners([a, b, c])), [c, b, a]);
  assert.deepEqual(encodeListeners([b, a, c]), encodeListeners([c, b, a]));
  assert.deepEqual(decodeListeners(encodeListeners([])), []);
});

test('of more than fit, those with the least ports are told', () => {
  const many = Array.from({ length: LISTENER_COUNT_MAX + 2 }, (_, index) => listener(60_000 - index));
  const ports = decodeListeners(encodeListeners(many))?.map(({ port }) => port);
  assert.equal(ports?.length, LISTENER_COUNT_MAX);
  assert.deepEqual([ports?.[0], ports?.at(-1)], [60_000 - LISTENER_COUNT_MAX - 1, 59_998]);
});

test('what is no batch, or a larger one than any agent tells, is not taken', () => {
  assert.equal(decodeListeners(new Uint8Array(8)), undefined);
  const large = new Uint8Array((LISTENER_COUNT_MAX + 1) * LISTENER_SIZE);
  assert.equal(decodeListeners(encodeBatch(large, LISTENER_SIZE)), undefined);
});
