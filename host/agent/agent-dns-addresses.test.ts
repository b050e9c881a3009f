// What this host calls the addresses that answers gave it, against a reader that is written down as RFC 1035 says it.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../schemas/testing/random.ts';
import type { Payload } from '../wire/channel-sender.ts';
import { FrameKind } from '../wire/gen/wire-layout.ts';
import { decodeAnnounce } from '../wire/gen/wire-tables.ts';
import { AgentCore } from './agent-core.ts';
import { encodeDnsEvent } from './testing/dns-event.ts';
import { BUILDS, loadModule } from './testing/modules.ts';

const CONTEXT = { clockOffsetNs: 1_700_000_000_000_000_000n, agentTimeNs: 7n, eventsLost: 0n, blindMs: 0 };
const SECOND = 1_000_000_000n;
const [A, CNAME, AAAA] = [1, 5, 28];
const ASKED = 'Www.Shop.example';

function createCore(build: (typeof BUILDS)[number], dnsNames = true): AgentCore {
  const module = loadModule(build);
  const options = {
    module,
    hashSeed: [1n, 2n] as const,
    windowNs: 10n * SECOND,
    addressSpace: 'default',
    boot: 'boot',
  };
  return new AgentCore({ ...options, dnsNames }, { nameProcess: () => undefined });
}

/** Writes names as servers do: the end of a name that stands in the message already is a pointer to it. */
class MessageWriter {
  readonly bytes: number[] = [];
  readonly #places = new Map<string, number>();

  constructor(flags: number, answers: number) {
    this.bytes.push(0, 7, flags >> 8, flags & 255, 0, 1, answers >> 8, answers & 255, 0, 0, 0, 0);
  }

  name(name: string): this {
    const labels = name.split('.');
    for (let index = 0; index < labels.length; index++) {
      const rest = labels.slice(index).join('.').toLowerCase();
      const place = this.#places.get(rest);
      if (place !== undefined) {
        this.bytes.push(0xc0 | (place >> 8), place & 255);
        return this;
      }
      if (this.bytes.length < 0x3fff) this.#places.set(rest, this.bytes.length);
      this.bytes.push(labels[index].length, ...Buffer.from(labels[index]));
    }
    this.bytes.push(0);
    return this;
  }

  question(name: string, type: number): this {
    this.name(name).bytes.push(0, type, 0, 1);
    return this;
  }

  record(owner: string, type: number, ttl: number, data: string | readonly number[], recordClass = 1): this {
    this.name(owner).bytes.push(0, type, 0, recordClass, ttl >>> 24, (ttl >> 16) & 255, (ttl >> 8) & 255, ttl & 255);
    const lengthAt = this.bytes.length;
    this.bytes.push(0, 0);
    if (typeof data === 'string') this.name(data);
    else this.bytes.push(...data);
    const length = this.bytes.length - lengthAt - 2;
    this.bytes[lengthAt] = length >> 8;
    this.bytes[lengthAt + 1] = length & 255;
    return this;
  }
}

interface ResourceRecord {
  owner: string;
  type: number;
  recordClass: number;
  data: Uint8Array;
  /** As a name, where it is one. */
  target: string | undefined;
}

/** The name at `at` and what follows it; undefined when it is none. */
function readName(bytes: Uint8Array, at: number, below = at): { name: string; next: number } | undefined {
  const length = bytes[at];
  if (length === undefined) return undefined;
  if (length === 0) return { name: '', next: at + 1 };
  if (length >= 192) {
    const target = (length - 192) * 256 + bytes[at + 1];
    const rest = at + 1 < bytes.length && target < below ? readName(bytes, target, target) : undefined;
    return rest && { name: rest.name, next: at + 2 };
  }
  if (length >= 64 || at + 1 + length > bytes.length) return undefined;
  const label = Buffer.from(bytes.subarray(at + 1, at + 1 + length))
    .toString('latin1')
    .toLowerCase();
  const rest = readName(bytes, at + 1 + length, below);
  return rest && { name: `${label}.${rest.name}`, next: rest.next };
}

/** The records that are whole. */
function readRecords(bytes: Uint8Array): ResourceRecord[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const records: ResourceRecord[] = [];
  let at = (readName(bytes, 12)?.next ?? assert.fail('no question')) + 4;
  while (records.length < view.getUint16(6)) {
    const owner = readName(bytes, at);
    if (owner === undefined || owner.next + 10 > bytes.length) break;
    const [start, length] = [owner.next + 10, view.getUint16(owner.next + 8)];
    if (start + length > bytes.length) break;
    const [type, recordClass] = [view.getUint16(owner.next), view.getUint16(owner.next + 2)];
    const target = type === CNAME ? readName(bytes, start)?.name : undefined;
    records.push({ owner: owner.name, type, recordClass, data: bytes.subarray(start, start + length), target });
    at = start + length;
  }
  return records;
}

/** The addresses of the asked name, 16 bytes as hexadecimal digits. */
function naiveAddresses(bytes: Uint8Array): string[] {
  const records = readRecords(bytes).filter(({ recordClass }) => recordClass === 1);
  let sought = `${ASKED.toLowerCase()}.`;
  for (let aliases = 0; ; aliases++) {
    const alias = records.find(({ owner, type }) => owner === sought && type === CNAME);
    if (alias === undefined) break;
    if (alias.target === undefined || aliases === 8) return [];
    sought = alias.target;
  }
  const found = records.filter(({ owner }) => owner === sought);
  return found.flatMap(({ type, data }) => {
    const hex = Buffer.from(data).toString('hex');
    if (type === A && data.length === 4) return data[0] === 127 ? [] : [`${'0'.repeat(20)}ffff${hex}`];
    return type === AAAA && data.length === 16 ? [hex] : [];
  });
}

/** Asks at `timeNs`, and gets `answer` a millisecond later. */
function lookUp(core: AgentCore, answer: Uint8Array, timeNs = SECOND, copied = answer.length): void {
  const type = answer[answer.indexOf(0, 12) + 2];
  core.events(encodeDnsEvent({ timeNs }, Uint8Array.from(new MessageWriter(0x0100, 0).question(ASKED, type).bytes)));
  const event = { timeNs: timeNs + 1_000_000n, isSent: 0, messageBytes: answer.length, copiedBytes: copied };
  core.events(encodeDnsEvent(event, answer.subarray(0, copied)));
}

/** What the frames say of addresses: a name, or undefined when it is over. In the order in which it is said. */
function namedIn(payloads: readonly Payload[], texts = new Map<number, string>()): [string, string | undefined][] {
  const told: [string, string | undefined][] = [];
  for (const { payload } of payloads.filter(({ kind }) => kind === FrameKind.Announce)) {
    const announce = decodeAnnounce(payload);
    for (const { handle, text } of announce?.labels ?? []) texts.set(handle, text);
    for (const { address, addressSpace, label } of announce?.namedAddresses ?? []) {
      assert.equal(addressSpace, 1);
      assert.ok(label === 0 || texts.has(label), 'a label is announced before it is used');
      told.push([Buffer.from(address).toString('hex'), texts.get(label)]);
    }
  }
  return told;
}

const answerOf = (writer: MessageWriter): Uint8Array => Uint8Array.from(writer.bytes);
const simple = (data: readonly number[], { ttl = 300, flags = 0x8180 } = {}): Uint8Array =>
  answerOf(new MessageWriter(flags, 1).question(ASKED, A).record(ASKED, A, ttl, data));
const V4 = [192, 0, 2, 9];
const V4_HEX = `${'0'.repeat(20)}ffffc0000209`;
const NAME = ASKED.toLowerCase();

for (const build of BUILDS) {
  test(`${build}: random answers, aliases and strangers in them, name what a naive reader finds`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`seed ${seed}`);
    const random = new Random(seed);
    let named = 0;
    for (let round = 0; round < 400; round++) {
      const aliases = random.below(11);
      const names = [
        ASKED,
        ...Array.from({ length: aliases }, (_, index) => `a${index}.cdn${random.below(3)}.example`),
      ];
      const entries: [string, number, string | readonly number[], number][] = [];
      for (let index = 0; index < aliases; index++) entries.push([names[index], CNAME, names[index + 1], 1]);
      for (let count = random.below(60); count > 0; count--) {
        const owner = random.pick([names[aliases], names[aliases].toUpperCase(), 'other.example', random.pick(names)]);
        const type = random.pick([A, AAAA, 16]);
        const length = random.chance(0.1) ? random.below(20) : type === A ? 4 : 16;
        const data = Array.from({ length }, () => 1 + random.below(random.chance(0.1) ? 126 : 250));
        entries.push([owner, type, data, random.chance(0.1) ? 3 : 1]);
      }
      if (random.chance(0.2)) entries.sort(() => random.below(3) - 1);
      if (random.chance(0.05)) entries.push([names[aliases], CNAME, ASKED, 1]);
      const writer = new MessageWriter(0x8180, entries.length).question(ASKED, random.pick([A, AAAA]));
      for (const [owner, type, data, recordClass] of entries) writer.record(owner, type, 300, data, recordClass);
      const answer = answerOf(writer);
      const questionBytes = 12 + ASKED.length + 2 + 4;
      if (random.chance(0.2)) {
        for (let index = 0; index < 3; index++) {
          const at = questionBytes + random.below(answer.length - questionBytes);
          if (at < answer.length) answer[at] = random.below(256);
        }
      }
      const limit = random.pick([512, 4096, answer.length]);
      const copied = Math.min(limit, answer.length);
      const core = createCore(build);
      lookUp(core, answer, SECOND, copied);
      core.settle(2n * SECOND);
      const told = namedIn(core.encodeWindow(1, CONTEXT));
      // Loopback and link-local addresses, which a changed byte can make, have no names; they are compared elsewhere.
      const expected = new Set(naiveAddresses(answer.subarray(0, copied)).filter((hex) => !isLocal(hex)));
      assert.deepEqual(new Set(told.map(([address]) => address)), expected, `round ${round}`);
      assert.ok(told.every(([, name]) => name === NAME));
      named += told.length;
    }
    assert.ok(named > 1000, `${named}`);
  });

  test(`${build}: nothing is named by an answer of another code, a cut one, one that nobody asked for, or without the option`, () => {
    const nothing: ((core: AgentCore) => void)[] = [
      (core) => lookUp(core, simple(V4, { flags: 0x8183 })),
      (core) => lookUp(core, simple(V4, { flags: 0x8380 })),
      (core) => lookUp(core, simple([127, 0, 0, 1])),
      (core) => core.events(encodeDnsEvent({ isSent: 0 }, simple(V4))),
      (core) => {
        // This host is the server.
        const question = Uint8Array.from(new MessageWriter(0x0100, 0).question(ASKED, A).bytes);
        core.events(encodeDnsEvent({ isSent: 0 }, question));
        core.events(encodeDnsEvent({ isSent: 1 }, simple(V4)));
      },
    ];
    for (const say of nothing) {
      const core = createCore(build);
      say(core);
      core.settle(2n * SECOND);
      assert.deepEqual(namedIn(core.encodeWindow(1, CONTEXT)), []);
    }
    const core = createCore(build, false);
    lookUp(core, simple(V4));
    core.settle(2n * SECOND);
    assert.deepEqual(namedIn(core.encodeWindow(1, CONTEXT)), []);
    assert.equal(core.counters.dnsAddresses, 0n);
  });

  test(`${build}: a name holds for a minute at least and an hour at most, then it is over and its label ends`, () => {
    for (const [ttl, holds] of [
      [0, 60n],
      [90, 90n],
      [86_400, 3600n],
      [0xffff_ffff, 60n],
    ] as const) {
      const core = createCore(build);
      const texts = new Map<number, string>();
      lookUp(core, simple(V4, { ttl }), SECOND);
      core.settle(SECOND + 1_000_000n + holds * SECOND);
      assert.deepEqual(namedIn(core.encodeWindow(1, CONTEXT), texts), [[V4_HEX, NAME]]);
      assert.deepEqual(namedIn(core.encodeWindow(2, CONTEXT), texts), [], 'told once');
      core.settle(SECOND + 1_000_001n + holds * SECOND);
      assert.deepEqual(namedIn(core.encodeWindow(3, CONTEXT), texts), [[V4_HEX, undefined]]);
      assert.equal(core.counters.dnsAddresses, 0n);
      assert.deepEqual(namedIn(core.encodeWindow(4, CONTEXT), texts), []);
      core.commit(4);
      core.encodeWindow(40, CONTEXT);
      core.encodeWindow(41, CONTEXT);
      assert.equal(core.counters.labels, 0n);
    }
  });

  test(`${build}: a full table keeps what it has and counts the rest, and a snapshot tells all that it has`, () => {
    const core = createCore(build);
    const addresses = 65_536 + 100;
    for (let from = 0; from < addresses; from += 100) {
      const writer = new MessageWriter(0x8180, 100).question(ASKED, A);
      for (let at = from; at < from + 100; at++)
        writer.record(ASKED, A, 300, [10, (at >> 16) & 255, (at >> 8) & 255, at & 255]);
      lookUp(core, answerOf(writer));
    }
    core.settle(2n * SECOND);
    assert.equal(core.counters.dnsAddresses, 65_536n);
    assert.equal(Number(core.counters.dnsAddressesRefused), Math.ceil(addresses / 100) * 100 - 65_536);
    const told = namedIn(core.encodeWindow(1, CONTEXT));
    assert.equal(new Set(told.map(([address]) => address)).size, 65_536);
    assert.equal(namedIn(core.encodeSnapshot(2, 1n, CONTEXT.clockOffsetNs)).length, 65_536);
  });
}

function isLocal(hex: string): boolean {
  return /^0{20}ffff(7f|a9fe)/.test(hex) || /^fe[89ab]/.test(hex) || /^0{31}1$/.test(hex);
}
