// An agent that looks at one control group: what runs in it or below it is seen, connections and datagrams, and nothing else is.
import assert from 'node:assert/strict';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findCgroupRoot } from '../../host/agent/cgroup-paths.ts';
import { Lab, REDUCER_PORT, Role } from './lab.ts';
import { Nginx } from './nginx.ts';
import { waitFor } from './wait.ts';

const PORT = 8080;
const root = findCgroupRoot();
const skip =
  process.getuid?.() !== 0 ? 'needs root' : root === undefined ? 'no v2 hierarchy of control groups' : undefined;
/** Each group with the requests that come from it, all different. */
const INSIDE = 7;
const BELOW = 11;
const BESIDE = 13;
const OUTSIDE = 17;

describe('an agent with the scope of a control group', { skip, concurrency: false }, () => {
  const base = join(root ?? '', `tributary-scope-${process.pid}`);
  const group = join(base, 'web.service');
  const below = join(group, 'worker');
  const beside = join(base, 'web.service-2');
  const lab = new Lab({ hosts: ['cli', 'srv'], unwatched: ['cli', 'srv'] });
  let agent: Role;

  before(async () => {
    for (const path of [below, beside]) mkdirSync(path, { recursive: true });
    await lab.start();
    new Nginx(lab, 'srv', PORT);
    const args = ['--reducer', `127.0.0.1:${REDUCER_PORT}`, '--scope', `cgroup=${group}`, '--node', 'scoped'];
    agent = new Role(lab.island, 'agent', ['agent', ...args]);
    await agent.logged(/connected/);
    await waitFor(async () => {
      const { code } = await lab.network
        .host('srv')
        .attempt('curl', '-sS', '-o', '/dev/null', `http://127.0.0.1:${PORT}/`);
      return code === 0 ? true : undefined;
    }, 'nginx');
  });

  after(async () => {
    await agent?.kill('SIGKILL');
    await lab.stop();
    for (const path of [below, beside, group, base]) rmdirSync(path);
  });

  const request = async (count: number, path?: string): Promise<void> => {
    const url = `http://${lab.network.host('srv').v4}:${PORT}/`;
    const enter = path === undefined ? '' : `echo $$ > ${path}/cgroup.procs && `;
    const urls = new Array(count).fill(`-o /dev/null ${url}`).join(' ');
    await lab.network.host('cli').exec('sh', '-c', `${enter}exec curl -sS -H 'Connection: close' ${urls}`);
  };

  test('sees the connections of the group and of those below it', async () => {
    await request(OUTSIDE);
    await request(BESIDE, beside);
    await request(INSIDE, group);
    await request(BELOW, below);
    const connections = await lab.untilEdges('id_id', 'the last of them', ({ edges }) => {
      const sum = edges.reduce((total, edge) => total + edge.connections, 0);
      return sum >= INSIDE + BELOW ? sum : undefined;
    });
    assert.equal(connections, INSIDE + BELOW);
    const { edges } = await lab.edges('id_id');
    assert.deepEqual(
      [...new Set(edges.map(({ serverPort, match }) => `${serverPort} ${match.server}`))],
      [`${PORT} 0`],
    );
    assert.deepEqual([...new Set(edges.map(({ client }) => client.host))], ['scoped']);
  });

  test('sees its datagrams, and no others', async () => {
    const send = async (bytes: number, path?: string): Promise<void> => {
      const enter = path === undefined ? '' : `echo $$ > ${path}/cgroup.procs && `;
      const target = `/dev/udp/${lab.network.host('srv').v4}/9999`;
      await lab.network.host('cli').exec('bash', '-c', `${enter}printf '%${bytes}s' x > ${target}`);
    };
    await send(500);
    await send(300, beside);
    await send(100, below);
    const bytes = await lab.untilEdges('id_id', 'the datagram', ({ edges }) => {
      const udp = edges.filter(({ transport }) => transport === 'udp');
      return udp.length > 0 ? udp.reduce((sum, edge) => sum + edge.bytes.forward + edge.bytes.reverse, 0) : undefined;
    });
    assert.equal(bytes, 100);
  });
});
