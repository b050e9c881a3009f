import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeKind } from '../../../host/wire/gen/records-layout.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { type NodeTexts, type Owner, StageWorker } from '../../testing/stage-worker.ts';

const MODULE = compileModule('testing/enrich-aggregate.ts', 'release');
const CONTAINER = '4f'.repeat(32);
const AT = { host: 'db-1', zone: 'eu-1a' };

const CASES: { name: string; owner: Owner; node: Partial<NodeTexts> }[] = [
  {
    name: 'a container is named by its id, whatever else is known',
    owner: { ...AT, comm: 'postgres', executable: '/usr/bin/postgres', unit: 'docker.service', container: CONTAINER },
    node: { kind: NodeKind.Container, id: CONTAINER, role: '4f4f4f4f4f4f', container: CONTAINER, process: 'postgres' },
  },
  {
    name: 'a container keeps its id and plays the role that its name says',
    owner: { ...AT, comm: 'postgres', container: CONTAINER, containerName: 'shop-db' },
    node: { kind: NodeKind.Container, id: CONTAINER, role: 'shop-db', container: CONTAINER, process: 'postgres' },
  },
  {
    name: 'a unit comes before the process',
    owner: { ...AT, comm: 'nginx', executable: '/usr/sbin/nginx', unit: 'nginx.service' },
    node: { kind: NodeKind.Service, id: 'db-1/nginx.service', role: 'nginx.service', process: 'nginx' },
  },
  {
    name: 'a process is named by the file that it executes',
    owner: { ...AT, comm: 'truncated-name-', executable: '/opt/x/truncated-name-of-a-program' },
    node: {
      kind: NodeKind.Process,
      id: 'db-1/truncated-name-of-a-program',
      role: 'truncated-name-of-a-program',
      process: 'truncated-name-of-a-program',
    },
  },
  {
    name: 'an executable that was replaced keeps its name',
    owner: { ...AT, comm: 'curl', executable: '/usr/bin/curl (deleted)' },
    node: { kind: NodeKind.Process, id: 'db-1/curl', role: 'curl', process: 'curl' },
  },
  {
    name: 'without an executable the command name serves',
    owner: { ...AT, comm: 'curl' },
    node: { kind: NodeKind.Process, id: 'db-1/curl', role: 'curl', process: 'curl' },
  },
  {
    name: 'a numbered kernel thread is the host',
    owner: { ...AT, comm: 'kworker/3:1' },
    node: { kind: NodeKind.Host, id: 'db-1', role: 'db-1', process: '' },
  },
  {
    name: 'a command name that holds a NUL is none',
    owner: { ...AT, comm: 'cu\0rl' },
    node: { kind: NodeKind.Host, id: 'db-1', role: 'db-1', process: '' },
  },
  {
    name: 'an executable that holds a NUL is none, and its unit is still known',
    owner: { ...AT, unit: 'nginx.service', executable: '/usr/sbin/ng\0inx' },
    node: { kind: NodeKind.Service, id: 'db-1/nginx.service', role: 'nginx.service', process: '' },
  },
  {
    name: 'of an unknown owner only the host is known',
    owner: AT,
    node: { kind: NodeKind.Host, id: 'db-1', role: 'db-1' },
  },
];

for (const { name, owner, node } of CASES) {
  test(name, () => {
    const worker = new StageWorker(MODULE);
    const texts = worker.readNode(worker.nodeOf(owner));
    assert.deepEqual({ ...texts, ...node }, texts);
    assert.equal(texts.zone, 'eu-1a');
    assert.equal(texts.host, 'db-1');
    assert.equal(texts.address, '');
  });
}

test('one owner is one node, and a host in two zones is two', () => {
  const worker = new StageWorker(MODULE);
  const owner = { ...AT, unit: 'nginx.service', executable: '/usr/sbin/nginx' };
  assert.equal(worker.nodeOf(owner), worker.nodeOf({ ...owner, comm: 'other' }));
  assert.notEqual(worker.nodeOf(owner), worker.nodeOf({ ...owner, zone: 'eu-1b' }));
});

test('processes of one unit or container are nodes of their own within one node', () => {
  const worker = new StageWorker(MODULE);
  for (const owner of [
    { ...AT, unit: 'nginx.service' },
    { ...AT, container: CONTAINER },
  ]) {
    const whole = worker.nodeOf(owner);
    const [left, right] = ['nginx', 'logger'].map((name) =>
      worker.nodeOf({ ...owner, executable: `/usr/bin/${name}` }),
    );
    assert.equal(new Set([whole, left, right]).size, 3);
    for (const node of [whole, left, right]) assert.equal(worker.call('idNodeOf', node), whole);
    assert.equal(worker.call('azNodeOf', left), worker.call('azNodeOf', whole));
  }
  const process = worker.nodeOf({ ...AT, executable: '/usr/bin/curl' });
  assert.equal(worker.call('idNodeOf', process), process);
});

const POD = {
  podUid: '9c3ab9d4-6a5e-4f5e-8e53-0c8b7fd3f1a2',
  podQos: 'burstable',
  podNamespace: 'shop',
  podName: 'cart-0',
};
const POD_TEXT = '9c3ab9d4-6a5e-4f5e-8e53-0c8b7fd3f1a2\0burstable\0shop\0cart-0';

test('a container keeps its name, image and pod at the id level, and what differs in one of them is another node', () => {
  const worker = new StageWorker(MODULE);
  const owner = { ...AT, container: 'c0ffee', containerName: 'cart', image: 'cart:v1', ...POD };
  const node = worker.nodeOf({ ...owner, executable: '/usr/bin/java' });
  const { containerName, image, pod } = worker.readNode(worker.call('idNodeOf', node));
  assert.deepEqual([containerName, image, pod], ['cart', 'cart:v1', POD_TEXT]);
  assert.equal(worker.nodeOf({ ...owner, executable: '/usr/bin/java' }), node);
  const others = [
    { ...owner, containerName: 'shop' },
    { ...owner, image: 'cart:v2' },
    { ...owner, podName: 'cart-1' },
  ].map((other) => worker.nodeOf({ ...other, executable: '/usr/bin/java' }));
  assert.equal(new Set([node, ...others]).size, 4);
  const bare = worker.readNode(worker.call('azNodeOf', node));
  assert.deepEqual([bare.containerName, bare.image, bare.pod], ['', '', '']);
  assert.equal(worker.call('azNodeOf', others[1]), worker.call('azNodeOf', node));
});

test('of a pod what is too long is cut between characters, and a text with a NUL is left out', () => {
  const worker = new StageWorker(MODULE);
  const podOf = (pod: Partial<typeof POD>) =>
    worker.readNode(worker.nodeOf({ ...AT, container: 'c0ffee', ...pod })).pod.split('\0');
  const long = 'ä'.repeat(400);
  const cut = (bytes: number) => 'ä'.repeat(bytes / 2);
  assert.deepEqual(
    podOf({ podUid: long, podQos: long, podNamespace: long, podName: long }),
    [36, 16, 64, 256].map(cut),
  );
  assert.deepEqual(podOf({ ...POD, podNamespace: 'a\0b' }), [POD.podUid, 'burstable', '', 'cart-0']);
  assert.deepEqual(podOf({ podName: 'cart-0' }), ['', '', '', 'cart-0']);
  assert.deepEqual(podOf({}), ['']);
});

test('the az node keeps role and zone, the role node the role, and equal ones are shared', () => {
  const worker = new StageWorker(MODULE);
  const left = worker.nodeOf({ ...AT, unit: 'nginx.service' });
  const right = worker.nodeOf({ host: 'db-2', zone: 'eu-1a', unit: 'nginx.service' });
  const elsewhere = worker.nodeOf({ host: 'db-3', zone: 'eu-1b', unit: 'nginx.service' });
  const az = worker.call('azNodeOf', left);
  const bare = {
    kind: NodeKind.Service,
    id: '',
    role: 'nginx.service',
    host: '',
    address: '',
    process: '',
    container: '',
    containerName: '',
    image: '',
    pod: '',
  };
  assert.deepEqual(worker.readNode(az), { ...bare, handle: az, zone: 'eu-1a' });
  assert.equal(worker.call('azNodeOf', right), az);
  assert.notEqual(worker.call('azNodeOf', elsewhere), az);
  const role = worker.call('roleNodeOf', left);
  assert.deepEqual(worker.readNode(role), { ...bare, handle: role, zone: '' });
  assert.equal(worker.call('roleNodeOf', elsewhere), role);
});

test('texts beyond their limits are cut between characters', () => {
  const worker = new StageWorker(MODULE);
  const node = worker.readNode(worker.nodeOf({ host: 'ä'.repeat(40), zone: 'z'.repeat(100), unit: '€'.repeat(60) }));
  assert.equal(node.host, 'ä'.repeat(32));
  assert.equal(node.zone, 'z'.repeat(64));
  assert.equal(node.role, '€'.repeat(42));
  assert.equal(node.id, `${node.host}/${node.role}`);
  assert.ok(worker.counter('TextsCut') >= 3);
});

test('when the node table is full a new node is (other), and known nodes stay themselves', () => {
  const worker = new StageWorker(MODULE, { nodeCountMax: 5 });
  const other = worker.call('otherNode');
  const host = worker.nodeOf(AT);
  const known = worker.nodeOf({ ...AT, unit: 'a.service' });
  assert.equal(worker.nodeOf({ ...AT, unit: 'b.service' }), other);
  assert.equal(worker.readNode(other).id, '(other)');
  assert.equal(worker.nodeOf(AT), host);
  assert.equal(worker.nodeOf({ ...AT, unit: 'a.service' }), known);
  assert.equal(worker.counter('NodesRefused'), 1);
});
