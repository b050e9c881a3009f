// Two containers in the network namespace of their host, as with --network=host: what tells them apart is their control group. The runtime is an
// HTTP server that answers as Docker's API does; groups, processes and connections are real.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findCgroupRoot } from '../../host/agent/cgroup-paths.ts';
import { Lab } from './lab.ts';
import { Nginx } from './nginx.ts';
import { waitFor } from './wait.ts';

const PORT = 8080;
const REQUESTS = 20;
const root = findCgroupRoot();
const skip =
  process.getuid?.() !== 0 ? 'needs root' : root === undefined ? 'no v2 hierarchy of control groups' : undefined;

/** A container with a name, and one that the runtime knows of only after its first process was seen. */
const CART = { id: 'ca'.repeat(32), name: 'cart' };
const SHOP = { id: '5b'.repeat(32), name: 'shop' };
/** Of a runtime that nobody asks. */
const UNKNOWN = { id: '9e'.repeat(32), name: '9e9e9e9e9e9e' };

describe('containers that share the network of their host', { skip, concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-containers-'));
  const socket = join(folder, 'docker.sock');
  const base = join(root ?? '', `tributary-lab-${process.pid}`);
  const groups = [
    [CART.name, join(base, `docker-${CART.id}.scope`)],
    [SHOP.name, join(base, `docker-${SHOP.id}.scope`)],
    [UNKNOWN.name, join(base, `cri-containerd-${UNKNOWN.id}.scope`)],
  ] as const;
  const lab = new Lab({ hosts: ['cli', 'srv'], agentArgs: () => ['--container-socket', socket] });
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
    for (const [, path] of groups) rmdirSync(path);
    rmdirSync(base);
    rmSync(folder, { recursive: true });
  });

  test('each is a node of its own, by its name and its id', async () => {
    const url = `http://${lab.network.host('srv').v4}:${PORT}/`;
    const urls = new Array(REQUESTS).fill(`-o /dev/null ${url}`).join(' ');
    for (const [, path] of groups) {
      const enter = `echo $$ > ${path}/cgroup.procs && exec curl -sS -H 'Connection: close' ${urls}`;
      await lab.network.host('cli').exec('sh', '-c', enter);
    }
    const clients = await lab.untilEdges('id_id', 'twenty connections of each', ({ edges }) => {
      const found = edges.filter(
        ({ client, serverPort, connections }) =>
          serverPort === PORT && client.kind === 'container' && connections === REQUESTS,
      );
      return found.length === groups.length ? found.map(({ client }) => client) : undefined;
    });
    const told = clients.map(({ role, container }) => [role, container]).sort();
    const expected = [CART, SHOP, UNKNOWN].map(({ id, name }) => [name, id]).sort();
    assert.deepEqual(told, expected);
    // By the agents of both hosts: once for all, and once for the container that came later; never for one of another runtime.
    assert.deepEqual(asked.toSorted(), [`/containers/${SHOP.id}/json`, '/containers/json', '/containers/json']);
  });
});
