import assert from 'node:assert/strict';
import { test } from 'node:test';
import ipaddr from 'ipaddr.js';
import { chooseSeed, Random } from '../../../schemas/testing/random.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressHalves, StageWorker } from '../../testing/stage-worker.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const CLASSES = ['unspecified', 'private', 'public'];

function bytesOf(text: string): Uint8Array {
  const address = ipaddr.parse(text);
  return Uint8Array.from(
    (address.kind() === 'ipv6' ? address : (address as ipaddr.IPv4).toIPv4MappedAddress()).toByteArray(),
  );
}

function format(worker: StageWorker, address: Uint8Array): string {
  return worker.textAt(worker.scratch, worker.call('formatAddressInto', ...addressHalves(address), worker.scratch));
}

/** RFC 5952 by ipaddr.js; by the URL parser as well, which knows no dotted form. */
function expected(address: Uint8Array): string {
  const parsed = ipaddr.fromByteArray([...address]) as ipaddr.IPv6;
  if (parsed.isIPv4MappedAddress()) return parsed.toIPv4Address().toString();
  const text = parsed.toRFC5952String();
  assert.equal(new URL(`http://[${text}]`).hostname, `[${text}]`);
  return text;
}

test('addresses are written as RFC 5952 and dotted IPv4 say', () => {
  const worker = new StageWorker(MODULE);
  const texts = [
    '0.0.0.0',
    '10.0.0.1',
    '192.168.100.255',
    '255.255.255.255',
    '::',
    '::1',
    '1::',
    '2001:db8::1',
    '2001:db8:0:1:1:1:1:1',
    '2001:0:0:1::1',
    '2001:db8::1:0:0:1',
    'fe80::a00:27ff:fe4e:66a1',
    '::ffff:0:1.2.3.4',
    '64:ff9b::102:304',
    '1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7::',
    '0:2:3:4:5:6:7:8',
  ];
  for (const text of texts) assert.equal(format(worker, bytesOf(text)), expected(bytesOf(text)), text);
  assert.equal(format(worker, bytesOf('2001:db8:0:1:1:1:1:1')), '2001:db8:0:1:1:1:1:1');
});

test('random addresses with runs of zeros are written like by another library', (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  const worker = new StageWorker(MODULE);
  for (let step = 0; step < 20_000; step++) {
    const address = random.bytes(16);
    for (let group = 0; group < 8; group++)
      if (random.chance(0.5)) address.fill(0, group * 2, group * 2 + random.below(3));
    if (random.chance(0.2)) address.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
    assert.equal(format(worker, address), expected(address));
  }
});

test('addresses are private or public by their range', () => {
  const worker = new StageWorker(MODULE);
  const cases: [string, string[]][] = [
    ['unspecified', ['0.0.0.0', '::']],
    ['private', ['10.0.0.0', '10.255.255.255', '172.16.0.0', '172.31.255.255', '192.168.0.0', '192.168.255.255']],
    ['private', ['100.64.0.0', '100.127.255.255', '127.0.0.1', '127.255.255.255', '169.254.0.0', '169.254.169.254']],
    ['private', ['::1', 'fc00::', 'fdff:ffff::1', 'fe80::', 'febf::1']],
    ['public', ['9.255.255.255', '11.0.0.0', '172.15.255.255', '172.32.0.0', '192.167.255.255', '192.169.0.0']],
    ['public', ['100.63.255.255', '100.128.0.0', '126.255.255.255', '128.0.0.0', '169.253.0.0', '169.255.0.0']],
    ['public', ['::2', 'fbff::1', 'fe00::', 'fe7f::1', 'fec0::', '2606:4700::1111', '8.8.8.8']],
  ];
  for (const [name, texts] of cases) {
    for (const text of texts) {
      assert.equal(CLASSES[worker.call('classifyAddress', ...addressHalves(bytesOf(text)))], name, text);
    }
  }
});
