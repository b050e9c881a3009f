import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressEnd, makeEdge, processEnd, unitEnd } from '../api/testing/edge.ts';
import { readFilter } from './filter-text.ts';

const NONE = makeEdge().failures;
const EDGES = {
  web: makeEdge({ client: processEnd('a', 'curl'), server: unitEnd('b', 'nginx.service'), serverPort: 8080 }),
  far: makeEdge({ client: processEnd('a', 'curl'), server: addressEnd('fe80::1'), failures: { ...NONE, refused: 1 } }),
  ssh: makeEdge({ client: addressEnd('10.1.2.3'), server: unitEnd('b', 'ssh.service'), serverPort: 22 }),
};

test('words have to hold together; a field asks one thing, an unfinished one nothing', () => {
  const cases: [string, string[]][] = [
    ['', ['web', 'far', 'ssh']],
    ['  curl  ', ['web', 'far']],
    ['curl 8080', ['web']],
    ['unit:nginx', ['web']],
    ['unit:', ['web', 'far', 'ssh']],
    ['curl failed', ['far']],
    ['fe80::1', ['far']],
    ['from:10.0.0.0/8 port:22', ['ssh']],
    ['curl ssh', []],
  ];
  for (const [text, expected] of cases) {
    const { test: meets, problem } = readFilter(text, 'id_id');
    const found = Object.entries(EDGES).flatMap(([name, edge]) => (meets(edge) ? [name] : []));
    assert.deepEqual([found, problem], [expected, undefined], text);
  }
});

test('a word that means nothing says so and filters nothing', () => {
  const { test: meets, problem } = readFilter('curl port:http', 'id_id');
  assert.match(problem ?? '', /"http" is not a port/);
  assert.deepEqual([meets(EDGES.web), meets(EDGES.ssh)], [true, false]);
});

test('what a level does not keep cannot be asked for there', () => {
  assert.match(readFilter('process:curl', 'az_az').problem ?? '', /process is not kept at az_az: l chooses another/);
  assert.equal(readFilter('process:curl', 'az_id').problem, undefined);
});
