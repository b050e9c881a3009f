// DNS messages, hostile ones among them, against a reader that is written down as RFC 1035 says it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../../../schemas/testing/random.ts';
import { compileModule } from '../../../testing/compile-module.ts';

interface Exports {
  memory: WebAssembly.Memory;
  init(): number;
  read(bytes: number): number;
  textAddress(): number;
  textBytes(): number;
  id: { value: number };
  isAnswer: { value: number };
  isTruncated: { value: number };
  recordType: { value: number };
  responseCode: { value: number };
}

interface Message {
  id: number;
  isAnswer: boolean;
  isTruncated: boolean;
  responseCode: number;
  recordType: number;
  name: string;
}

class Reader {
  readonly #wasm: Exports;
  readonly #room: number;

  constructor(build: 'release' | 'debug') {
    const module = compileModule('testing/dns-message.ts', build);
    this.#wasm = new WebAssembly.Instance(module, {}).exports as Exports & WebAssembly.Exports;
    this.#room = this.#wasm.init();
  }

  read(bytes: Uint8Array): Message | undefined {
    const { memory, id, isAnswer, isTruncated, responseCode, recordType } = this.#wasm;
    new Uint8Array(memory.buffer, this.#room, bytes.length).set(bytes);
    if (this.#wasm.read(bytes.length) === 0) return undefined;
    const text = Buffer.from(memory.buffer, this.#wasm.textAddress(), this.#wasm.textBytes());
    return {
      id: id.value,
      isAnswer: isAnswer.value === 1,
      isTruncated: isTruncated.value === 1,
      responseCode: responseCode.value,
      recordType: recordType.value,
      name: text.toString('latin1'),
    };
  }
}

/** The labels from `at` on, and where the message goes on; each pointer has to lead to before `lowest`. */
function naiveLabels(bytes: Uint8Array, at: number, lowest: number): { labels: number[][]; next: number } | undefined {
  const length = bytes[at];
  if (length === undefined) return undefined;
  if (length === 0) return { labels: [], next: at + 1 };
  if (length >= 192) {
    if (at + 1 >= bytes.length) return undefined;
    const target = (length - 192) * 256 + bytes[at + 1];
    const rest = target < lowest ? naiveLabels(bytes, target, target) : undefined;
    return rest && { labels: rest.labels, next: at + 2 };
  }
  if (length >= 64 || at + 1 + length > bytes.length) return undefined;
  const rest = naiveLabels(bytes, at + 1 + length, lowest);
  return rest && { labels: [[...bytes.subarray(at + 1, at + 1 + length)], ...rest.labels], next: rest.next };
}

function naiveText(labels: number[][]): string {
  const textOf = (byte: number): string => {
    const character = String.fromCharCode(byte).toLowerCase();
    if (character === '.' || character === '\\') return `\\${character}`;
    return byte > 32 && byte < 127 ? character : `\\${String(byte).padStart(3, '0')}`;
  };
  return labels.length === 0 ? '.' : labels.map((label) => label.map(textOf).join('')).join('.');
}

function naiveRead(bytes: Uint8Array): Message | undefined {
  if (bytes.length < 12) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const bits = view.getUint16(2).toString(2).padStart(16, '0');
  if (bits.slice(1, 5) !== '0000' || view.getUint16(4) !== 1) return undefined;
  const name = naiveLabels(bytes, 12, 12);
  if (name === undefined || name.labels.reduce((sum, label) => sum + 1 + label.length, 1) > 255) return undefined;
  if (name.next + 4 > bytes.length) return undefined;
  return {
    id: view.getUint16(0),
    isAnswer: bits[0] === '1',
    isTruncated: bits[6] === '1',
    responseCode: Number.parseInt(bits.slice(12), 2),
    recordType: view.getUint16(name.next),
    name: naiveText(name.labels),
  };
}

function message(question: number[], { flags = 0, questions = 1 } = {}): Uint8Array {
  const head = [0x12, 0x34, flags >> 8, flags & 255, 0, questions, 0, 0, 0, 0, 0, 0];
  return Uint8Array.from([...head, ...question]);
}

const labels = (...names: string[]): number[] => [...names.flatMap((name) => [name.length, ...Buffer.from(name)]), 0];

for (const build of ['release', 'debug'] as const) {
  const reader = new Reader(build);

  test(`${build}: queries, answers, and what is neither`, () => {
    const a = [0, 1, 0, 1];
    const rows: [string, Uint8Array, Partial<Message> | undefined][] = [
      ['a query', message([...labels('Www', 'example', 'ORG'), ...a]), { name: 'www.example.org', isAnswer: false }],
      ['no such name', message([...labels('x'), 0, 28, 0, 1], { flags: 0x8183 }), { recordType: 28, responseCode: 3 }],
      ['a truncated answer', message([...labels('x'), ...a], { flags: 0x8200 }), { isAnswer: true, isTruncated: true }],
      ['the root', message([0, 0, 2, 0, 1]), { name: '.', recordType: 2 }],
      ['a notification', message([...labels('x'), ...a], { flags: 0x2000 }), undefined],
      ['no question', message([], { questions: 0, flags: 0x8001 }), undefined],
      ['two questions', message([...labels('x'), ...a, ...labels('y'), ...a], { questions: 2 }), undefined],
      ['a pointer to itself', message([0xc0, 12, ...a]), undefined],
      ['a pointer forward', message([0xc0, 18, ...a, ...labels('x')]), undefined],
      ['a pointer into the header', message([1, 120, 0xc0, 6, ...a]), { name: 'x' }],
      ['a label that is too long', message([64, ...Array(64).fill(97), 0, ...a]), undefined],
      ['255 bytes', message([...Array(127).fill([1, 97]).flat(), 0, ...a]), { name: Array(127).fill('a').join('.') }],
      ['256 bytes', message([...Array(126).fill([1, 97]).flat(), 2, 97, 97, 0, ...a]), undefined],
      ['a name without an end', message([3, 97, 97, 97]), undefined],
      ['a question without a type', message([...labels('x'), 0]), undefined],
    ];
    for (const [what, bytes, expected] of rows) {
      const read = reader.read(bytes);
      if (expected === undefined) assert.equal(read, undefined, what);
      else assert.partialDeepStrictEqual(read, expected, what);
    }
    const odd = reader.read(message([4, ...Buffer.from('a.b\\'), 2, 32, 0xe9, 0, ...a]));
    assert.equal(odd?.name, 'a\\.b\\\\.\\032\\233');
  });

  test(`${build}: random bytes are read as the naive reader reads them`, (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed}`);
    const random = new Random(seed);
    let understood = 0;
    for (let round = 0; round < 20_000; round++) {
      const bytes = randomMessage(random);
      const expected = naiveRead(bytes);
      if (expected !== undefined) understood++;
      assert.deepEqual(reader.read(bytes), expected, Buffer.from(bytes).toString('hex'));
    }
    assert.ok(understood > 2_000, `${understood} were messages`);
  });
}

/** Labels and pointers of any kind behind a header that is mostly right; cut anywhere. */
function randomMessage(random: Random): Uint8Array {
  const bytes: number[] = [...random.bytes(2), random.below(256), random.below(256), 0, 1, ...random.bytes(6)];
  if (random.chance(0.7)) bytes[2] &= 0x87;
  if (random.chance(0.05)) bytes[5] = random.below(4);
  for (let part = random.below(8); part > 0; part--) {
    if (random.chance(0.15)) bytes.push(0xc0 | random.below(2), random.below(bytes.length + 4));
    else {
      const length = random.chance(0.05) ? random.below(256) : 1 + random.below(random.chance(0.1) ? 63 : 6);
      bytes.push(length, ...random.bytes(random.chance(0.95) ? length : random.below(length + 1)));
    }
  }
  bytes.push(0, ...random.bytes(4 + random.below(20)));
  return Uint8Array.from(random.chance(0.1) ? bytes.slice(0, random.below(bytes.length)) : bytes);
}
