// What does the wire cost for each record?
//
// agent.wasm encodes, the frame encoder and decoder do theirs with CRC-32 and zstd on and off, reducer.wasm verifies and applies. In the same round the
// same records go through JSON and protobuf, from values to bytes to values. Everything that was told must be read, and be the same.

import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { zstdCompressSync } from 'node:zlib';
import { compileReducer } from '../host/reducer/reducer-module.ts';
import type { Payload } from '../host/wire/channel-sender.ts';
import { encodeFrame } from '../host/wire/frame.ts';
import { FrameDecoder } from '../host/wire/frame-decoder.ts';
import { cpuNs } from './lib/cpu-clock.ts';
import { positive } from './lib/options.ts';
import { nameRound, Report } from './lib/report.ts';
import { rotate, showSpread, spreadOf } from './lib/statistics.ts';
import { KINDS, type Kind, type ToldWindow, WireAgent } from './wire/agent.ts';
import { type FlatRecord, forJson, ProtobufFormat, recordsOf, verifiedCount } from './wire/formats.ts';
import { WireSession } from './wire/session.ts';

const { values } = parseArgs({
  options: {
    sockets: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '9' },
    warmup: { type: 'string', default: '3' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- wire [options]: what the wire costs for each record

  --sockets N    records of each kind in a round (20000)
  --rounds N     measured rounds (9)
  --warmup N     rounds before them (3)
  --json FILE    where the raw numbers go (bench/results/wire.json)`);
  process.exit(0);
}

/** What a socket hands to the decoder at once. */
const PIECE_BYTES = 65_536;
const FRAMINGS = {
  plain: {},
  crc: { crc: true },
  zstd: { zstd: true },
  'crc, zstd': { crc: true, zstd: true },
} as const;
type Framing = keyof typeof FRAMINGS;
const FRAMING_NAMES = Object.keys(FRAMINGS) as Framing[];

/** ns and bytes, of one kind in one round. */
interface Measured {
  records: number;
  encode: number;
  frame: Record<Framing, Cost>;
  verify: number;
  apply: number;
  json: Cost;
  protobuf: Cost;
}

interface Cost {
  write: number;
  read: number;
  bytes: number;
  /** After zstd, of those that have no framing for it. */
  zstdBytes?: number;
}

const sockets = positive('wire', 'sockets', values.sockets);
const rounds = positive('wire', 'rounds', values.rounds);
const warmup = positive('wire', 'warmup', values.warmup);
const report = new Report('wire', values.json);
const agent = new WireAgent(
  new WebAssembly.Module(readFileSync(join(import.meta.dirname, '../wasm-modules/build/agent.wasm'))),
  sockets,
);
const session = new WireSession(await compileReducer());
session.tell(agent.snapshot());

const measured = Object.fromEntries(KINDS.map((kind) => [kind, [] as Measured[]])) as Record<Kind, Measured[]>;
for (let round = -warmup; round < rounds; round++) {
  report.progress(nameRound(round, { rounds, warmup }));
  for (const told of agent.round()) {
    const one = measureWindow(told, round + warmup);
    if (round >= 0) measured[told.kind].push(one);
  }
}
assert.equal(session.framesRefused, 0, 'the reducer refused frames');
report.keep('kinds', measured);
printBytes();
printCosts();
printRatios();
report.finish();

function measureWindow({ window, payloads, before, end, encodeNs }: ToldWindow, round: number): Measured {
  const records = payloads.map(recordsOf);
  const count = payloads.reduce((sum, payload) => sum + (verifiedCount(payload) ?? 0), 0);
  assert(count >= sockets, `${count} records of ${sockets} sockets`);
  const frame = {} as Record<Framing, Cost>;
  let json: Cost | undefined;
  let protobuf: Cost | undefined;
  const steps: (() => void)[] = [
    ...FRAMING_NAMES.map((name) => () => {
      frame[name] = measureFraming(name, payloads);
    }),
    () => {
      json = measureJson(records);
    },
    () => {
      protobuf = measureProtobuf(records, round === 0);
    },
  ];
  for (const step of rotate(steps, round)) step();
  const start = cpuNs();
  for (const payload of payloads) verifiedCount(payload);
  const verify = cpuNs() - start;
  session.tell(before);
  const apply = session.tell(payloads);
  session.tell([end]);
  session.close(window);
  assert(json !== undefined && protobuf !== undefined);
  return { records: sockets, encode: encodeNs, frame, verify, apply, json, protobuf };
}

function measureFraming(name: Framing, payloads: readonly Payload[]): Cost {
  const start = cpuNs();
  const frames = payloads.map(({ kind, payload }, index) =>
    encodeFrame({ kind, seq: index + 1, payload, ...FRAMINGS[name] }),
  );
  const write = cpuNs() - start;
  const stream = Buffer.concat(frames);
  const decoder = new FrameDecoder();
  const read: Uint8Array[] = [];
  const reading = cpuNs();
  for (let at = 0; at < stream.length; at += PIECE_BYTES) {
    decoder.push(stream.subarray(at, at + PIECE_BYTES));
    for (let next = decoder.next(); next !== undefined; next = decoder.next()) read.push(next.payload);
  }
  const readNs = cpuNs() - reading;
  assert.equal(decoder.pendingBytes, 0);
  assert(
    read.length === payloads.length && read.every((one, index) => Buffer.compare(one, payloads[index].payload) === 0),
  );
  return { write, read: readNs, bytes: stream.length };
}

function measureJson(records: readonly FlatRecord[][]): Cost {
  const objects = records.map(forJson);
  const start = cpuNs();
  const texts = objects.map((batch) => Buffer.from(JSON.stringify(batch)));
  const write = cpuNs() - start;
  const reading = cpuNs();
  const read = texts.map((text) => JSON.parse(text.toString()) as unknown[]);
  const readNs = cpuNs() - reading;
  assert(read.every((batch, index) => batch.length === objects[index].length));
  return { write, read: readNs, ...sizes(texts) };
}

function measureProtobuf(records: readonly FlatRecord[][], isCompared: boolean): Cost {
  const formats = records.map(([example]) => new ProtobufFormat(example));
  const lists = records.map((batch) => batch.map((record) => Object.values(record)));
  const start = cpuNs();
  const messages = lists.map((batch, index) => formats[index].write(batch));
  const write = cpuNs() - start;
  const reading = cpuNs();
  const read = messages.map((message, index) => formats[index].read(message));
  const readNs = cpuNs() - reading;
  if (isCompared) assert.deepEqual(read, lists);
  return { write, read: readNs, ...sizes(messages) };
}

function sizes(messages: readonly Uint8Array[]): { bytes: number; zstdBytes: number } {
  const total = (list: readonly Uint8Array[]) => list.reduce((sum, { length }) => sum + length, 0);
  return { bytes: total(messages), zstdBytes: total(messages.map((message) => zstdCompressSync(message))) };
}

function printBytes(): void {
  const per = (bytes: number) => (bytes / sockets).toFixed(1);
  report.table(
    'bytes a record on the wire, with the headers of frames of 64 KiB',
    ['record', 'plain', 'zstd', 'protobuf', 'protobuf, zstd', 'JSON', 'JSON, zstd'],
    KINDS.map((kind) => {
      const { frame, json, protobuf } = measured[kind][0];
      const others = [protobuf, json].flatMap(({ bytes, zstdBytes = 0 }) => [per(bytes), per(zstdBytes)]);
      return [kind, per(frame.plain.bytes), per(frame.zstd.bytes), ...others];
    }),
  );
}

function printCosts(): void {
  const costs: [string, (one: Measured) => number][] = [
    ['encode (agent.wasm)', ({ encode }) => encode],
    ...FRAMING_NAMES.flatMap((name): [string, (one: Measured) => number][] => [
      [`frame: write, ${name}`, ({ frame }) => frame[name].write],
      [`frame: read, ${name}`, ({ frame }) => frame[name].read],
    ]),
    ['verify envelopes alone', ({ verify }) => verify],
    ['copy in, verify, apply (reducer.wasm)', ({ apply }) => apply],
    ['protobuf: write', ({ protobuf }) => protobuf.write],
    ['protobuf: read', ({ protobuf }) => protobuf.read],
    ['JSON: write', ({ json }) => json.write],
    ['JSON: read', ({ json }) => json.read],
  ];
  report.table(
    `CPU ns a record, median of ${rounds} rounds (least-greatest)`,
    ['step', ...KINDS],
    costs.map(([name, pick]) => [
      name,
      ...KINDS.map((kind) => showSpread(spreadOf(measured[kind].map((one) => pick(one) / one.records)), 1)),
    ]),
  );
}

function printRatios(): void {
  const ours = ({ encode, frame, apply }: Measured, framing: Framing) =>
    encode + frame[framing].write + frame[framing].read + apply;
  const both = ({ write, read }: Cost) => write + read;
  const ratio = (kind: Kind, of: (one: Measured) => number) => showSpread(spreadOf(measured[kind].map(of)), 2);
  report.table(
    'CPU of one round, all steps from the row of the agent to that of the reducer: ratio to plain frames, median (least-greatest)',
    ['record', ...FRAMING_NAMES.slice(1), 'protobuf, to values', 'JSON, to objects'],
    KINDS.map((kind) => [
      kind,
      ...FRAMING_NAMES.slice(1).map((name) => ratio(kind, (one) => ours(one, name) / ours(one, 'plain'))),
      ratio(kind, (one) => both(one.protobuf) / ours(one, 'plain')),
      ratio(kind, (one) => both(one.json) / ours(one, 'plain')),
    ]),
  );
}
