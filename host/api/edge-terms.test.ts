import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseSeed, Random } from '../../schemas/testing/random.ts';
import type { EdgeEnd } from './edge-answer.ts';
import { TERMS, TermError, type TermField } from './edge-terms.ts';
import { addressEnd, END, makeEdge, processEnd, unitEnd } from './testing/edge.ts';

const EDGES = {
  web: makeEdge({ client: processEnd('a', 'Curl'), server: unitEnd('b', 'nginx.service'), serverPort: 8080 }),
  v4: makeEdge({ client: processEnd('a', 'curl'), server: addressEnd('10.1.2.3'), serverPort: 443 }),
  v6: makeEdge({ client: addressEnd('2001:db8::7'), server: unitEnd('b', 'ssh.service'), serverPort: 22 }),
  box: makeEdge({
    client: {
      ...END,
      kind: 'container',
      id: 'c0ffee01',
      role: 'c0ffee01',
      container: 'c0ffee01',
      zone: 'eu-1a',
      imageName: 'shop/cart',
      podName: 'cart-0',
    },
    server: addressEnd('10.9.0.1'),
    transport: 'udp',
    serverPort: null,
  }),
};
type EdgeName = keyof typeof EDGES;

const CASES: [TermField, string, EdgeName[]][] = [
  ['match', 'curl', ['web', 'v4']],
  ['match', '10.0.0.0/8', ['v4', 'box']],
  ['match', '2001:DB8:0::7', ['v6']],
  ['match', '8080', ['web']],
  ['match', 'udp', ['box']],
  ['match', 'eu-1', ['box']],
  ['match', 'shop/*', ['box']],
  ['from', '=cart-0', ['box']],
  ['from', 'a/', ['web', 'v4']],
  ['from', '2001:db8::/32', ['v6']],
  ['to', 'nginx', ['web']],
  ['to', 'curl', []],
  ['to', '10.1.2.3', ['v4']],
  ['process', '=curl', ['web', 'v4']],
  ['process', '=cur', []],
  ['process', 'c*l', ['web', 'v4']],
  ['process', '*ur', []],
  ['process', 'nginx', []],
  ['unit', '*.service', ['web', 'v6']],
  ['unit', 's*h*.service', ['v6']],
  ['unit', 'curl', []],
  ['container', 'c0ffee', ['box']],
  ['address', '10.1.2.3', ['v4']],
  ['address', '10.0.0.0/8', ['v4', 'box']],
  ['address', '::/0', ['v6']],
  ['port', '443', ['v4']],
  ['port', '22-8080', ['web', 'v4', 'v6']],
  ['protocol', 'TCP', ['web', 'v4', 'v6']],
  ['protocol', '6', ['web', 'v4', 'v6']],
];

for (const [field, text, expected] of CASES)
  test(`${field} ${text} finds ${expected.join(', ') || 'nothing'}`, () => {
    const matches = TERMS[field](text);
    const found = (Object.keys(EDGES) as EdgeName[]).filter((name) => matches(EDGES[name]));
    assert.deepEqual(found, expected);
  });

test('a term that means nothing is refused with what is allowed', () => {
  const cases: [TermField, string, RegExp][] = [
    ['from', '', /is empty/],
    ['address', 'nginx', /"nginx" is not an address, or a range such as 10\.0\.0\.0\/8/],
    ['address', '10.0.0.0/33', /is not an address/],
    ['port', '0', /from 1 to 65535/],
    ['port', '70000', /from 1 to 65535/],
    ['port', '90-80', /from 1 to 65535/],
    ['port', 'http', /"http" is not a port/],
    ['protocol', 'sctp', /is not tcp, udp/],
    ['protocol', '256', /from 0 to 255/],
  ];
  for (const [field, text, message] of cases)
    assert.throws(
      () => TERMS[field](text),
      (error: Error) => error instanceof TermError && message.test(error.message),
      `${field} ${text}`,
    );
});

/** What `*` means, by trying every length for it. */
function matchesNaively(name: string, pattern: string): boolean {
  if (pattern === '') return name === '';
  if (pattern[0] !== '*') return name[0] === pattern[0] && matchesNaively(name.slice(1), pattern.slice(1));
  for (let skipped = 0; skipped <= name.length; skipped++)
    if (matchesNaively(name.slice(skipped), pattern.slice(1))) return true;
  return false;
}

test('patterns match as a search of all their readings does', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const text = (letters: string[], lengthMax: number): string =>
    Array.from({ length: random.below(lengthMax + 1) }, () => random.pick(letters)).join('');
  const counts = { true: 0, false: 0 };
  for (let round = 0; round < 5_000; round++) {
    const name = text(['a', 'b'], 8);
    const pattern = `${text(['a', 'b', '*'], 4)}*${text(['a', 'b', '*'], 4)}`;
    const client: EdgeEnd = { ...END, process: name, processes: [name] };
    const expected = name !== '' && matchesNaively(name, pattern);
    assert.equal(TERMS.process(pattern)(makeEdge({ client })), expected, `${pattern} on ${name}`);
    counts[`${expected}`]++;
  }
  assert.ok(counts.true > 500 && counts.false > 500);
});

test('a pattern of many stars on a long name takes no longer than their product', () => {
  const client: EdgeEnd = { ...END, process: `${'a'.repeat(4_000)}b` };
  const matches = TERMS.process(`${'*a'.repeat(1_000)}*c`);
  assert.equal(matches(makeEdge({ client })), false);
});
