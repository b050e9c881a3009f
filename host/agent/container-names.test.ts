// A runtime that is a real HTTP server on a unix socket, and answers as Docker's API does.
import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { ContainerNames, WAITING_COUNT_MAX } from './container-names.ts';
import { dockerRuntime } from './docker-names.ts';

interface Fake {
  name: string;
  image?: string;
  labels?: Record<string, string>;
  environment?: string[];
}

const id = (number: number): string => number.toString(16).padStart(64, 'c0ffee');
const process = (number: number, containerRuntime = 'docker') => ({ containerId: id(number), containerRuntime });

class Runtime {
  readonly socket: string;
  readonly containers = new Map<string, Fake>();
  readonly asked: string[] = [];
  /** When, by `performance.now`. */
  readonly askedAt: number[] = [];
  readonly logged: string[] = [];
  readonly named: [string, string][] = [];
  readonly names: ContainerNames;
  /** Instead of an answer. */
  fault: 'none' | 'error' | 'nonsense' | 'other' = 'none';
  #server: Server | undefined;

  constructor(context: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'runtime-'));
    this.socket = join(folder, 'docker.sock');
    this.names = new ContainerNames(
      { runtime: dockerRuntime(this.socket), retryFirstMs: 5 },
      {
        log: pino({ base: undefined }, { write: (line) => void this.logged.push(JSON.parse(line).msg) }),
        random: () => 0.5,
        named: (containerId, { containerName }) => void this.named.push([containerId, containerName]),
      },
    );
    context.after(async () => {
      this.names.stop();
      await this.stop();
      rmSync(folder, { recursive: true });
    });
  }

  async listen(): Promise<void> {
    this.#server = createServer(({ url = '' }, response) => {
      this.asked.push(url);
      this.askedAt.push(performance.now());
      const { status, body } = this.#answer(url);
      response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => this.#server?.listen(this.socket, resolve));
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    server?.closeAllConnections();
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
  }

  #answer(url: string): { status: number; body: string } {
    if (this.fault === 'error') return { status: 500, body: '{"message":"busy"}' };
    if (this.fault === 'nonsense') return { status: 200, body: '<html>' };
    if (this.fault === 'other') return { status: 200, body: '{"Id":1}' };
    const containerId = /^\/containers\/([0-9a-f]+)\/json$/.exec(url)?.[1];
    if (containerId === undefined) return { status: 200, body: JSON.stringify(this.#list()) };
    const fake = this.containers.get(containerId);
    if (fake === undefined) return { status: 404, body: '{"message":"No such container"}' };
    const { name, image = 'image', labels = null, environment = null } = fake;
    const inspected = { Id: containerId, Name: `/${name}`, Config: { Image: image, Labels: labels, Env: environment } };
    return { status: 200, body: JSON.stringify(inspected) };
  }

  #list(): object[] {
    return Array.from(this.containers, ([Id, { name, image = 'image', labels = {} }]) => ({
      ...{ Id, Names: [`/${name}`], Image: image, Labels: labels },
    }));
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await sleep(5);
  }

  /** Its name, once there is one. */
  async nameOf(number: number): Promise<string | undefined> {
    await this.until(() => this.names.complete(process(number)).containerName !== undefined);
    return this.names.complete(process(number)).containerName;
  }
}

test('those that run at the start have their names at once; nobody is asked again', async (context) => {
  const runtime = new Runtime(context);
  runtime.containers.set(id(1), { name: 'web', image: 'nginx:1.27' });
  await runtime.listen();
  await runtime.names.start();
  const { containerName, image, podUid } = runtime.names.complete({ ...process(1), image: '', podUid: '' });
  assert.deepEqual([containerName, image, podUid], ['web', 'nginx:1.27', '']);
  assert.deepEqual(runtime.asked, ['/containers/json']);
});

test('a container that comes later is asked for once, however many of its processes are seen', async (context) => {
  const runtime = new Runtime(context);
  await runtime.listen();
  await runtime.names.start();
  runtime.containers.set(id(2), { name: 'late' });
  for (let count = 0; count < 10; count++) assert.equal(runtime.names.complete(process(2)).containerName, undefined);
  assert.equal(await runtime.nameOf(2), 'late');
  assert.deepEqual(runtime.named, [[id(2), 'late']]);
  assert.deepEqual(runtime.asked, ['/containers/json', `/containers/${id(2)}/json`]);
});

test('whoever started a container named it: ECS, Nomad, Kubernetes', async (context) => {
  const runtime = new Runtime(context);
  const nomad = { 'com.hashicorp.nomad.alloc_id': 'x' };
  const kubernetes = (name: string) => ({ 'io.kubernetes.container.name': name, 'io.kubernetes.pod.uid': 'u-1' });
  const secret = 'PASSWORD=hunter2';
  const environment = ['NOMAD_TASK_NAME=web', secret, 'NOMAD_JOB_NAME=shop', 'NOMAD_GROUP_NAME=front'];
  const rows: [Fake, string][] = [
    [{ name: 'ecs-1', labels: { 'com.amazonaws.ecs.task-definition-family': 'billing' } }, 'billing'],
    [{ name: 'web-0f3a', labels: nomad, environment }, 'shop.front.web'],
    [{ name: 'web-0f3b', labels: nomad, environment: ['NOMAD_JOB_NAME=shop', secret] }, 'shop.unknown.unknown'],
    [{ name: 'k8s_cart_1', labels: kubernetes('cart') }, 'cart'],
    [{ name: 'k8s_POD_1', labels: kubernetes('POD') }, 'k8s_POD_1'],
    [{ name: 'happy_turing' }, 'happy_turing'],
  ];
  for (const [index, [fake]] of rows.entries()) runtime.containers.set(id(index), fake);
  await runtime.listen();
  await runtime.names.start();
  for (const [index, [fake, expected]] of rows.entries())
    assert.equal(await runtime.nameOf(index), expected, JSON.stringify(fake));
  assert.equal(runtime.names.complete({ ...process(3), podUid: '' }).podUid, 'u-1');
  assert.equal(runtime.names.complete({ ...process(3), podUid: 'of the path' }).podUid, 'of the path');
  // Only for those whose name stands in their environment.
  assert.equal(runtime.asked.length, 3);
});

test('other runtimes and containers that have a name are no business of this one', async (context) => {
  const runtime = new Runtime(context);
  await runtime.listen();
  await runtime.names.start();
  const others = [
    process(1, 'containerd'),
    process(1, 'crio'),
    { containerId: 'db-1', containerRuntime: 'lxc', containerName: 'db-1' },
    { containerId: '../../secrets', containerRuntime: '' },
    { containerId: '', containerRuntime: '' },
  ];
  for (const each of others) assert.deepEqual(runtime.names.complete(each), each);
  await sleep(50);
  assert.deepEqual(runtime.asked, ['/containers/json']);
});

test('a container that the runtime does not know is asked for three times', async (context) => {
  const runtime = new Runtime(context);
  await runtime.listen();
  await runtime.names.start();
  runtime.names.complete(process(7));
  await runtime.until(() => runtime.asked.length >= 4);
  runtime.names.complete(process(7));
  await sleep(100);
  assert.equal(runtime.asked.length, 4);
  assert.deepEqual(runtime.logged, []);
});

test('without a runtime nothing is said; when one comes, those that wait get their names', async (context) => {
  const runtime = new Runtime(context);
  await runtime.names.start();
  runtime.containers.set(id(1), { name: 'web' });
  assert.equal(runtime.names.complete(process(1)).containerName, undefined);
  await sleep(50);
  await runtime.listen();
  assert.equal(await runtime.nameOf(1), 'web');
  assert.deepEqual(runtime.logged, []);
});

for (const fault of ['error', 'nonsense', 'other'] as const) {
  test(`a runtime that answers ${fault} is asked at growing distances, and the log says so once`, async (context) => {
    const runtime = new Runtime(context);
    await runtime.listen();
    runtime.fault = fault;
    for (let number = 0; number < WAITING_COUNT_MAX + 10; number++) runtime.names.complete(process(number));
    await runtime.until(() => runtime.asked.length >= 4);
    // 10 and 20 ms, less a quarter; what waits is not asked for all at once.
    const [, second, , fourth] = runtime.askedAt;
    assert.ok(fourth - second >= 20, `${fourth - second} ms`);
    assert.ok(runtime.asked.length < 20, `${runtime.asked.length} questions`);
    assert.equal(runtime.logged.length, 1, runtime.logged.join('\n'));
    assert.match(runtime.logged[0], /containers have no names: .*docker.sock does not answer/);
    runtime.containers.set(id(3), { name: 'three' });
    runtime.fault = 'none';
    assert.equal(await runtime.nameOf(3), 'three');
  });
}
