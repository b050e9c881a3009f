// Against a real containerd with records of containers, none of which runs.
import { strict as assert } from 'node:assert';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { ContainerNames } from './container-names.ts';
import { containerdRuntime } from './containerd-names.ts';
import { Containerd, whyNoContainerd } from './testing/containerd.ts';

const skip = whyNoContainerd();
const POD = {
  'io.kubernetes.pod.name': 'cart-0',
  'io.kubernetes.pod.namespace': 'shop',
  'io.kubernetes.pod.uid': '9c3ab9d4-6a5e-4f5e-8e53-0c8b7fd3f1a2',
};
const CART_POD = { podName: 'cart-0', podNamespace: 'shop', podUid: POD['io.kubernetes.pod.uid'] };
const NO_POD = { podName: '', podNamespace: '', podUid: '' };

const id = (number: number): string => number.toString(16).padStart(64, 'c0ffee');
const process = (number: number, containerRuntime = 'containerd') => ({ containerId: id(number), containerRuntime });

function namesOf(context: TestContext, socket: string) {
  const logged: string[] = [];
  const named: string[] = [];
  const names = new ContainerNames(
    { runtime: containerdRuntime(socket), retryFirstMs: 5 },
    {
      log: pino({ base: undefined }, { write: (line) => void logged.push(JSON.parse(line).msg) }),
      random: () => 0.5,
      named: (containerId) => void named.push(containerId),
    },
  );
  context.after(() => names.stop());
  return { names, logged, named };
}

function daemon(context: TestContext): Containerd {
  const containerd = new Containerd();
  context.after(() => containerd.stop());
  return containerd;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

test('containers are named by Kubernetes or nerdctl, with images and pods; those in the namespace of Docker are not', {
  skip,
}, async (context) => {
  const containerd = daemon(context);
  await containerd.start();
  const image = 'registry.example/shop/cart:v2';
  const cart = { ...POD, 'io.kubernetes.container.name': 'cart', 'io.cri-containerd.kind': 'container' };
  await containerd.create({ namespace: 'k8s.io', id: id(1), image, labels: cart });
  const pause = 'registry.k8s.io/pause:3.9';
  await containerd.create({
    namespace: 'k8s.io',
    id: id(2),
    image: pause,
    labels: { ...POD, 'io.cri-containerd.kind': 'sandbox' },
  });
  containerd.createByClient({ namespace: 'default', id: id(3), labels: { 'nerdctl/name': 'web' } });
  containerd.createByClient({ namespace: 'moby', id: id(4), labels: {} });
  const { names, logged } = namesOf(context, containerd.socket);
  await names.start();
  const nameOf = (number: number, runtime?: string) => {
    const { containerId, containerRuntime, ...name } = names.complete(process(number, runtime));
    return name;
  };
  assert.deepEqual(nameOf(1), { containerName: 'cart', image, ...CART_POD });
  assert.deepEqual(nameOf(1, ''), { containerName: 'cart', image, ...CART_POD });
  assert.deepEqual(nameOf(2), { containerName: '', image: pause, ...CART_POD });
  assert.deepEqual(nameOf(3, 'nerdctl'), { containerName: 'web', image: '', ...NO_POD });
  assert.deepEqual(nameOf(4), {});
  assert.deepEqual(nameOf(1, 'docker'), {});
  assert.equal(names.complete({ ...process(1), podUid: 'of the path' }).podUid, 'of the path');
  assert.deepEqual(logged, []);
});

test('a container that comes later is asked for, and one that is not there has no name', { skip }, async (context) => {
  const containerd = daemon(context);
  await containerd.start();
  const { names, named, logged } = namesOf(context, containerd.socket);
  await names.start();
  containerd.createByClient({ namespace: 'k8s.io', id: id(5), labels: { 'io.kubernetes.container.name': 'late' } });
  names.complete(process(6));
  names.complete(process(5));
  await until(() => named.length > 0);
  assert.deepEqual(named, [id(5)]);
  assert.equal(names.complete(process(5)).containerName, 'late');
  assert.equal(names.complete(process(6)).containerName, undefined);
  assert.deepEqual(logged, []);
});

test('a daemon that starts after the agent is asked for those that wait; until then nothing is said', {
  skip,
}, async (context) => {
  const containerd = daemon(context);
  const { names, named, logged } = namesOf(context, containerd.socket);
  await names.start();
  names.complete(process(7));
  await sleep(50);
  assert.deepEqual(logged, []);
  await containerd.start();
  containerd.createByClient({ namespace: 'default', id: id(7), labels: { 'nerdctl/name': 'seven' } });
  names.complete(process(7));
  await until(() => named.length > 0);
  assert.equal(names.complete(process(7)).containerName, 'seven');
});
