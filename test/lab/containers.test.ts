// Containers in the network namespace of their host, as with --network=host: what tells them apart is their control group. Docker is an HTTP
// server that answers as its API does. containerd is real, but knows its container as a record, which it does not run; groups, processes and
// connections are real.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findCgroupRoot } from '../../host/agent/cgroup-paths.ts';
import { Containerd, whyNoContainerd } from '../../host/agent/testing/containerd.ts';
import { atPort, sumsOf } from './edge-sums.ts';
import { Lab } from './lab.ts';
import { Nginx } from './nginx.ts';
import { waitFor } from './wait.ts';

const PORT = 8080;
const REQUESTS = 20;
const root = findCgroupRoot();
const skip = whyNoContainerd() ?? (root === undefined ? 'no v2 hierarchy of control groups' : undefined);

/** A container with a name, and one that the runtime knows of only after its first process was seen. */
const CART = { id: 'ca'.repeat(32), name: 'cart' };
const SHOP = { id: '5b'.repeat(32), name: 'shop' };
/** Of Kubernetes, with containerd. */
const CRATE = { id: 'c4'.repeat(32), name: 'crate' };
const IMAGE = 'registry.example:5000/shop/crate:v2';
const POD = { uid: '9c3ab9d4-6a5e-4f5e-8e53-0c8b7fd3f1a2', namespace: 'shop', name: 'crate-0' };
/** Of a runtime that nobody asks. */
const UNKNOWN = { id: '9e'.repeat(32), name: '9e9e9e9e9e9e' };

describe('containers that share the network of their host', { skip, concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-containers-'));
  const socket = join(folder, 'docker.sock');
  const base = join(root ?? '', `tributary-lab-${process.pid}`);
  const pod = join(base, `kubepods-burstable-pod${POD.uid.replaceAll('-', '_')}.slice`);
  const groups = [
    [CART.name, join(base, `docker-${CART.id}.scope`)],
    [SHOP.name, join(base, `docker-${SHOP.id}.scope`)],
    [CRATE.name, join(pod, `cri-containerd-${CRATE.id}.scope`)],
    [UNKNOWN.name, join(base, `crio-${UNKNOWN.id}.scope`)],
  ] as const;
  const containerd = new Containerd();
  const agentArgs = () => ['--container-socket', socket, '--containerd-socket', containerd.socket];
  const lab = new Lab({ hosts: ['cli', 'srv'], agentArgs });
  let runtime: Server;
  const asked: string[] = [];

  before(async () => {
    for (const [, path] of groups) mkdirSync(path, { recursive: true });
    runtime = createServer(({ url = '' }, response) => {
      asked.push(url);
      const inspected = { Id: SHOP.id, Name: `/${SHOP.name}`, Config: { Image: 'shop:1', Labels: {}, Env: [] } };
      const listed = [{ Id: CART.id, Names: [`/${CART.name}`], Image: 'cart:1', Labels: {} }];
      response.end(JSON.stringify(url === '/containers/json' ? listed : inspected));
    });
    await new Promise<void>((resolve) => runtime.listen(socket, resolve));
    await containerd.start();
    const labels = {
      ...{ 'io.kubernetes.container.name': CRATE.name, 'io.kubernetes.pod.uid': POD.uid },
      ...{ 'io.kubernetes.pod.namespace': POD.namespace, 'io.kubernetes.pod.name': POD.name },
    };
    await containerd.create({ namespace: 'k8s.io', id: CRATE.id, image: IMAGE, labels });
    await lab.start();
    new Nginx(lab, 'srv', PORT);
    await waitFor(async () => {
      const { code } = await lab.network
        .host('srv')
        .attempt('curl', '-sS', '-o', '/dev/null', `http://127.0.0.1:${PORT}/`);
      return code === 0 ? true : undefined;
    }, 'nginx');
  });

  after(async () => {
    await lab.stop();
    runtime.closeAllConnections();
    runtime.close();
    await containerd.stop();
    for (const [, path] of groups) rmdirSync(path);
    rmdirSync(pod);
    rmdirSync(base);
    rmSync(folder, { recursive: true });
  });

  test('each is a node of its own, by its name and its id', async () => {
    const url = `http://${lab.network.host('srv').v4}:${PORT}/`;
    const urls = new Array(REQUESTS).fill(`-o /dev/null ${url}`).join(' ');
    const names = new Set<string>(groups.map(([name]) => name));
    // On a busy machine a name may come after the first connections, which keep the start of the id.
    const clients = await waitFor(async () => {
      for (const [, path] of groups) {
        const enter = `echo $$ > ${path}/cgroup.procs && exec curl -sS -H 'Connection: close' ${urls}`;
        await lab.network.host('cli').exec('sh', '-c', enter);
      }
      const found = atPort(await lab.edges('id_id'), PORT).filter(
        ({ client }) => client.kind === 'container' && names.has(client.role),
      );
      const isTold = ([name]: readonly [string, string]): boolean =>
        sumsOf(found.filter(({ client }) => client.role === name)).connections >= REQUESTS;
      return groups.every(isTold) ? [...new Map(found.map(({ client }) => [client.id, client])).values()] : undefined;
    }, 'twenty connections of each, by its name');
    const told = clients.map(({ role, container }) => [role, container]).sort();
    const expected = [CART, SHOP, CRATE, UNKNOWN].map(({ id, name }) => [name, id]).sort();
    assert.deepEqual(told, expected);
    const crate = clients.find(({ role }) => role === CRATE.name);
    const { containerName, imageName, imageTag, podUid, podQos, podNamespace, podName } = crate ?? assert.fail();
    assert.deepEqual([containerName, imageName, imageTag], [CRATE.name, 'registry.example:5000/shop/crate', 'v2']);
    assert.deepEqual([podUid, podQos, podNamespace, podName], [POD.uid, 'burstable', POD.namespace, POD.name]);
    // By the agents of both hosts: once for all, and once for the container that came later; never for one of another runtime.
    assert.deepEqual(asked.toSorted(), [`/containers/${SHOP.id}/json`, '/containers/json', '/containers/json']);
  });
});
