import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level, NodeKind } from '../wire/gen/records-layout.ts';
import { boundRows, mergeRows, sortedRows } from './edge-rows.ts';
import { mergeHistograms } from './histogram.ts';
import { encodeWindowOutput } from './testing/window-output.ts';
import { countRows, decodeWindow } from './window-rows.ts';

const LEVELS = new Set<Level>([Level.AzAz]);
const AZ = { level: Level.AzAz };

test('a point is read with its texts, numbers and histogram', () => {
  const histogram = { scale: 3, offset: -90, counts: [1, 0, 2] };
  const nodes = [
    { role: 'curl', zone: 'eu-1a' },
    { role: 'nginx', zone: 'café' },
  ];
  const output = encodeWindowOutput(9, nodes, [
    { ...AZ, forwardBytes: 2n ** 50n, active: 3n, rttCount: 3, rttMinUs: 7, rttMaxUs: 9, histogram },
  ]);
  const [row] = sortedRows(decodeWindow([output], LEVELS));
  assert.equal(row.client.role, 'curl');
  assert.equal(row.server.zone, 'café');
  assert.equal(row.sums.forwardBytes, 2 ** 50);
  assert.equal(row.active, 3);
  assert.deepEqual(row.histogram, histogram);
});

test('other levels are not decoded', () => {
  const output = encodeWindowOutput(
    1,
    [{ role: 'a' }, { role: 'b' }],
    [{ level: Level.IdId }, { level: Level.RoleRole }],
  );
  assert.equal(decodeWindow([output], LEVELS).size, 0);
});

test('the points of an output are counted by level, also where a level has none', () => {
  const levels = [Level.IdId, Level.IdId, Level.AzAz, Level.RoleRole].map((level) => ({ level }));
  const nodes = [{ role: 'a' }, { role: 'b' }];
  assert.deepEqual(countRows(encodeWindowOutput(1, nodes, levels)), [2, 0, 0, 1, 0, 0, 1]);
  assert.deepEqual(countRows(encodeWindowOutput(1, [], [])), [0, 0, 0, 0, 0, 0, 0]);
});

test('the order of rows does not depend on which worker had them', () => {
  const zoned = (role: string) => [{ role }, { role: 'server' }];
  const a = encodeWindowOutput(1, zoned('a'), [{ ...AZ, forwardBytes: 1n }]);
  const b = encodeWindowOutput(1, zoned('b'), [{ ...AZ, forwardBytes: 2n }]);
  const order = (outputs: Uint8Array[]): string[] =>
    sortedRows(decodeWindow(outputs, LEVELS)).map((row) => row.client.role);
  assert.deepEqual(order([a, b]), ['a', 'b']);
  assert.deepEqual(order([b, a]), ['a', 'b']);
});

test('adjacent windows add up, the least RTT and the newest active count stay', () => {
  const window = (point: object): Uint8Array =>
    encodeWindowOutput(1, [{ role: 'a' }, { role: 'b' }], [{ ...AZ, ...point }]);
  const first = decodeWindow(
    [window({ reverseBytes: 5n, active: 4n, rttMinUs: 30, rttMaxUs: 40, fromWindow: 3 })],
    LEVELS,
  );
  const second = decodeWindow(
    [window({ reverseBytes: 6n, active: 1n, rttMinUs: 20, rttMaxUs: 25, fromWindow: 5 })],
    LEVELS,
  );
  const [row] = sortedRows(mergeRows(first, second.values()));
  assert.equal(row.sums.reverseBytes, 11);
  assert.deepEqual([row.active, row.rttMinUs, row.rttMaxUs, row.fromWindow], [1, 20, 40, 3]);
});

test('ports and protocols keep edges apart', () => {
  const output = encodeWindowOutput(
    1,
    [{ role: 'a' }, { role: 'b' }],
    [
      { ...AZ, serverPort: 80 },
      { ...AZ, serverPort: 443 },
      { ...AZ, serverPort: 443, protocol: 17 },
    ],
  );
  assert.equal(decodeWindow([output], LEVELS).size, 3);
});

test('histograms with different first buckets merge bucket by bucket', () => {
  const merged = mergeHistograms({ scale: 3, offset: -2, counts: [1, 1] }, { scale: 3, offset: 1, counts: [5] });
  assert.deepEqual(merged, { scale: 3, offset: -2, counts: [1, 1, 0, 5] });
});

test('what several workers have open of one edge in one window adds up', () => {
  const worker = (active: bigint): Uint8Array =>
    encodeWindowOutput(1, [{ role: '(other)' }, { role: '(other)' }], [{ ...AZ, active }]);
  const [row] = sortedRows(decodeWindow([worker(2n), worker(3n)], LEVELS));
  assert.equal(row.active, 5);
});

for (const [place, outputs] of [
  ['before', [['(other)'], ['a', 'b']]],
  ['after', [['a', 'b'], ['(other)']]],
] as const) {
  test(`rows without a place are added to the (other) that a window has ${place} them, and its own row stays as it is`, () => {
    const bytes = { a: 1n, b: 2n, '(other)': 4n };
    const encoded = outputs.map((roles) => {
      const nodes = roles.map((role) => ({ role, kind: role === '(other)' ? NodeKind.Other : NodeKind.Service }));
      return encodeWindowOutput(
        1,
        nodes,
        roles.map((role, node) => ({
          ...{
            ...AZ,
            clientNode: node,
            serverNode: node,
            serverPort: 0,
            forwardBytes: bytes[role],
            active: bytes[role],
          },
        })),
      );
    });
    const rows = decodeWindow(encoded, LEVELS);
    const known = decodeWindow([encodeWindowOutput(0, [{ role: 'known' }], [{ ...AZ, serverNode: 0 }])], LEVELS);
    const before = structuredClone([...rows.values()]);
    // The second time (other) is known, as it is from then on.
    for (const others of [known, mergeRows(boundRows(rows, known, 1).rows, known.values())]) {
      const bounded = boundRows(rows, others, 1);
      assert.deepEqual(
        [...bounded.rows.values()].map(({ client, sums, active }) => [client.role, sums.forwardBytes, active]),
        [['(other)', 7, 7]],
      );
      assert.equal(bounded.overflow, 2);
      assert.deepEqual(structuredClone([...rows.values()]), before);
    }
  });
}
