import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { configurationSchema } from './json-schema.ts';
import { loadConfiguration } from './load.ts';
import { printConfiguration } from './print.ts';
import { readConfigurationText } from './yaml-file.ts';

const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(configurationSchema());

test('an editor and the program are of one mind about a file', () => {
  const cases: [string, boolean][] = [
    ['agent:\n  reducer: web1:4400\n  zstd: true\n', true],
    ['agent:\n', true],
    ['reducer:\n  level: [az_az, role-role]\n  workers: 64\n', true],
    ['log:\n  level: warn\nreplay:\n  level: all\n', true],
    ['agnet:\n  zone: a\n', false],
    ['agent:\n  widow: 10s\n', false],
    ['agent:\n  window: 10\n', false],
    ['agent:\n  window: 10h\n', false],
    ['agent:\n  zstd: yes\n', false],
    ['agent:\n  zone: [a]\n', false],
    ['agent:\n  output: /tmp/x\n', false],
    ['reducer:\n  workers: 65\n', false],
    ['reducer:\n  workers: 1.5\n', false],
    ['reducer:\n  level: az_az\n', false],
    ['reducer:\n  level: []\n', false],
    ['reducer:\n  level: [pod]\n', false],
    ['log:\n  level: loud\n', false],
    ['tls: true\n', false],
  ];
  for (const [text, isGood] of cases) {
    assert.equal(validate(parse(text)), isGood, text);
    assert.equal(isAccepted(text), isGood, text);
  }
});

function isAccepted(text: string): boolean {
  const { settings, problems } = readConfigurationText('test.yaml', text);
  return (
    problems.length === 0 && settings.every(({ named, given }) => named.option.kind.schema.safeParse(given).success)
  );
}

test('an editor accepts all defaults', () => {
  const { settings } = loadConfiguration({ TRIBUTARY_CONFIG: '/dev/null' }, { flags: [] });
  assert.equal(validate(parse(printConfiguration(settings, undefined))), true, JSON.stringify(validate.errors));
});
