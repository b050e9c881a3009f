// The same records as what else one would send: an array of JSON objects, and protobuf messages with a number for each field.

import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Payload } from '../../host/wire/channel-sender.ts';
import { viewOf } from '../../host/wire/frame.ts';
import * as layout from '../../host/wire/gen/wire-layout.ts';
import { batchItems } from '../../host/wire/struct-batch.ts';

const { FrameKind } = layout;

type Value = number | bigint | Uint8Array;
/** A record with what it nests beside its own fields. */
export type FlatRecord = Record<string, Value>;

interface Reader {
  size: number;
  read: (view: DataView, offset: number) => object;
}

const READERS = new Map<number, Reader>([
  [FrameKind.Open, { size: layout.OPEN_SIZE, read: layout.readOpen }],
  [FrameKind.UpdateNarrow, { size: layout.UPDATE_NARROW_SIZE, read: layout.readUpdateNarrow }],
  [FrameKind.UpdateWide, { size: layout.UPDATE_WIDE_SIZE, read: layout.readUpdateWide }],
  [FrameKind.Close, { size: layout.CLOSE_SIZE, read: layout.readClose }],
  [FrameKind.Once, { size: layout.ONCE_SIZE, read: layout.readOnce }],
  [FrameKind.Tally, { size: layout.TALLY_SIZE, read: layout.readTally }],
]);

/** The records of a payload, read by the layout's own code. Throws when it is no batch of a kind that is measured here. */
export function recordsOf({ kind, payload }: Payload): FlatRecord[] {
  const reader = READERS.get(kind);
  const items = reader && batchItems(payload, reader.size);
  if (reader === undefined || items === undefined) throw new Error(`a payload of kind ${kind} is no batch`);
  const view = viewOf(payload);
  return Array.from({ length: items.count }, (_, index) =>
    flatten(reader.read(view, items.offset + index * reader.size)),
  );
}

/** How many records a payload has: its envelope is verified, so all of them are in bounds; undefined when it is not. */
export function verifiedCount({ kind, payload }: Payload): number | undefined {
  return batchItems(payload, READERS.get(kind)?.size ?? 0)?.count;
}

function flatten(item: object): FlatRecord {
  const flat: FlatRecord = {};
  for (const [name, value] of Object.entries(item)) {
    if (typeof value === 'object' && !(value instanceof Uint8Array)) Object.assign(flat, flatten(value));
    else flat[name] = value instanceof Uint8Array ? value.slice() : value;
  }
  return flat;
}

/**
 * What one hands to JSON.stringify: zeros left out, addresses as text, 64-bit numbers that a double cannot have as text, as OTLP/JSON does. Objects as JSON.parse
 * makes them: those that grew by name are slower.
 */
export function forJson(records: readonly FlatRecord[]): Record<string, string | number>[] {
  const objects = records.map((record) =>
    Object.fromEntries(
      Object.entries(record)
        .filter(([, value]) => value !== 0 && value !== 0n)
        .map(([name, value]) => [name, toJsonValue(name, value)]),
    ),
  );
  return JSON.parse(JSON.stringify(objects));
}

/** Hashes and times do not fit a double. */
function toJsonValue(name: string, value: Value): string | number {
  if (value instanceof Uint8Array) return [...value.subarray(12)].join('.');
  if (typeof value === 'number') return value;
  return FIXED.has(name) ? String(value) : Number(value);
}

/** Fields whose values are spread over all of 64 bits: a varint of them would be longer. OTLP has its times like this. */
const FIXED = new Set(['joinKey', 'startTimeNs', 'endTimeNs']);

/** A message of which field 1 is repeated: the records, each with its values as fields 1, 2 and so on. Records are lists of values, which is what costs least. */
export class ProtobufFormat {
  readonly #zeros: readonly Value[];
  readonly #types: readonly WireType[];

  /** `example`: a record of the kind. */
  constructor(example: FlatRecord) {
    const fields = Object.entries(example);
    this.#zeros = fields.map(([, value]) => (typeof value === 'bigint' ? 0n : 0));
    this.#types = fields.map(([name, value]) => {
      if (value instanceof Uint8Array) return WireType.LengthDelimited;
      return FIXED.has(name) ? WireType.Bit64 : WireType.Varint;
    });
  }

  write(records: readonly (readonly Value[])[]): Uint8Array {
    const writer = new BinaryWriter();
    for (const record of records) {
      writer.tag(1, WireType.LengthDelimited).fork();
      for (let index = 0; index < record.length; index++) {
        const value = record[index];
        // proto3 leaves out what is zero.
        if (value === 0 || value === 0n) continue;
        const type = this.#types[index];
        writer.tag(index + 1, type);
        if (typeof value === 'number') writer.uint32(value);
        else if (typeof value !== 'bigint') writer.bytes(value);
        else if (type === WireType.Bit64) writer.fixed64(value);
        else writer.uint64(value);
      }
      writer.join();
    }
    return writer.finish();
  }

  read(bytes: Uint8Array): Value[][] {
    const records: Value[][] = [];
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      reader.tag();
      const end = reader.uint32() + reader.pos;
      const record = this.#zeros.slice();
      while (reader.pos < end) {
        const [number, type] = reader.tag();
        const index = number - 1;
        if (type === WireType.LengthDelimited) record[index] = reader.bytes();
        else if (type === WireType.Bit64) record[index] = reader.fixed64() as bigint;
        else record[index] = typeof record[index] === 'bigint' ? (reader.uint64() as bigint) : reader.uint32();
      }
      records.push(record);
    }
    return records;
  }
}
