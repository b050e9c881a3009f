// What JavaScript offers for the same: Map with the key that suits it best and with one of text, typed arrays, plain arrays.

import { CHECKED_BYTE, makeTexts, mix, SAMPLE_US_MASK, type Side, TEXT_BYTES } from './side.ts';

interface Flow {
  client: number;
  server: number;
}

/** A number that no other index has, exact in a double: what the key of 128 bits is cut to, so that Map need not hash text. */
function numberKey(index: number): number {
  return mix(index) * 2 ** 21 + (mix(~index) >>> 11);
}

function textKey(index: number): string {
  return `${mix(index)}:${mix(~index)}`;
}

export function mapLookup<Key>(name: string, size: number, keyOf: (index: number) => Key): Side {
  const flows = new Map<Key, Flow>();
  for (let index = 0; index < size; index++) flows.set(keyOf(index), { client: index, server: 0 });
  return {
    name,
    run: (from, count) => {
      let sum = 0;
      for (let operation = from; operation < from + count; operation++) {
        const flow = flows.get(keyOf(mix(operation) % size));
        if (flow === undefined) throw new Error(`operation ${operation} finds nothing`);
        sum = (sum + flow.client) | 0;
      }
      return sum >>> 0;
    },
  };
}

export function mapJoin<Key>(name: string, size: number, keyOf: (index: number) => Key): Side {
  const flows = new Map<Key, Flow>();
  for (let index = 0; index < size; index++) flows.set(keyOf(index), { client: index, server: 0 });
  return {
    name,
    run: (from, count) => {
      let sum = 0;
      for (let operation = from; operation < from + count; operation++) {
        const index = size + operation;
        const first = keyOf(index);
        if (flows.has(first)) throw new Error(`flow ${index} is there already`);
        flows.set(first, { client: index, server: 0 });
        const flow = flows.get(keyOf(index));
        if (flow === undefined) throw new Error(`flow ${index} is gone`);
        flow.server = operation;
        sum = (sum + (flow.client ^ flow.server)) | 0;
        flows.delete(keyOf(operation));
      }
      return sum >>> 0;
    },
  };
}

export const mapLookups = (size: number): Side[] => [
  mapLookup('Map, number', size, numberKey),
  mapLookup('Map, text', size, textKey),
  typedLookup(size),
];

export const mapJoins = (size: number): Side[] => [
  mapJoin('Map, number', size, numberKey),
  mapJoin('Map, text', size, textKey),
];

/** Linear probing by hand, load at most 2/3, all of the key compared; its hash is cheap and an agent could choose keys that collide. */
function typedLookup(size: number): Side {
  const mask = 2 ** Math.ceil(Math.log2(Math.max(64, size * 1.5))) - 1;
  const slots = new Uint32Array(mask + 1);
  const high = new Uint32Array(size + 1);
  const low = new Uint32Array(size + 1);
  const client = new Uint32Array(size + 1);
  const place = (index: number) => mix(mix(index) ^ Math.imul(mix(~index), 0x9e3779b9)) & mask;
  for (let index = 0; index < size; index++) {
    [high[index + 1], low[index + 1], client[index + 1]] = [mix(index), mix(~index), index];
    let slot = place(index);
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = index + 1;
  }
  return {
    name: 'typed arrays',
    run: (from, count) => {
      let sum = 0;
      for (let operation = from; operation < from + count; operation++) {
        const index = mix(operation) % size;
        const [keyHigh, keyLow] = [mix(index), mix(~index)];
        let slot = place(index);
        let row = slots[slot];
        while (high[row] !== keyHigh || low[row] !== keyLow) {
          slot = (slot + 1) & mask;
          row = slots[slot];
        }
        sum = (sum + client[row]) | 0;
      }
      return sum >>> 0;
    },
  };
}

/** Buckets from 1 us to 36 h, as lib/histogram.ts has them. */
const BUCKETS = 296;
const BUCKET_MIN = -160;

/** Both know bucket bounds to a double's precision alone; no sample in whole microseconds comes that near to one. */
export function arrayHistogram(size: number): Side {
  const counts = new Uint32Array(size * BUCKETS);
  const add = (index: number, sampleUs: number) => {
    counts[index * BUCKETS + Math.ceil(Math.log2(sampleUs / 1e6) * 8) - 1 - BUCKET_MIN]++;
  };
  for (let index = 0; index < size; index++) add(index, 1 + index);
  return {
    name: 'typed array',
    run: (from, count) => {
      for (let operation = from; operation < from + count; operation++)
        add(mix(operation) % size, 1 + (mix(~operation) & SAMPLE_US_MASK));
      return 0;
    },
    checksum: () => {
      let sum = 0;
      for (const [at, count] of counts.entries())
        if (count > 0) sum = (sum + weigh(Math.floor(at / BUCKETS), at % BUCKETS, count)) | 0;
      return sum >>> 0;
    },
  };
}

export function mapHistogram(size: number): Side {
  const rows = Array.from({ length: size }, () => new Map<number, number>());
  const add = (index: number, sampleUs: number) => {
    const position = Math.ceil(Math.log2(sampleUs / 1e6) * 8) - 1 - BUCKET_MIN;
    rows[index].set(position, (rows[index].get(position) ?? 0) + 1);
  };
  for (let index = 0; index < size; index++) add(index, 1 + index);
  return {
    name: 'Map of buckets',
    run: (from, count) => {
      for (let operation = from; operation < from + count; operation++)
        add(mix(operation) % size, 1 + (mix(~operation) & SAMPLE_US_MASK));
      return 0;
    },
    checksum: () => {
      let sum = 0;
      for (const [index, row] of rows.entries())
        for (const [position, count] of row) sum = (sum + weigh(index, position, count)) | 0;
      return sum >>> 0;
    },
  };
}

function weigh(index: number, position: number, count: number): number {
  return Math.imul(count, mix(index + position + BUCKET_MIN));
}

interface Text {
  refs: number;
  checked: number;
}

/** Text comes as bytes, so a string is made first. */
export function mapIntern(size: number): Side {
  const texts = makeTexts(size);
  const known = new Map<string, Text>();
  const textOf = (index: number) => texts.toString('latin1', index * TEXT_BYTES, (index + 1) * TEXT_BYTES);
  for (let index = 0; index < size; index++)
    known.set(textOf(index), { refs: 1, checked: texts.readUInt32LE(index * TEXT_BYTES + CHECKED_BYTE) });
  return {
    name: 'Map, text from bytes',
    run: (from, count) => {
      let sum = 0;
      for (let operation = from; operation < from + count; operation++) {
        const text = known.get(textOf(mix(operation) % size));
        if (text === undefined) throw new Error(`operation ${operation} finds nothing`);
        text.refs++;
        sum = (sum + text.checked) | 0;
        text.refs--;
      }
      return sum >>> 0;
    },
  };
}
