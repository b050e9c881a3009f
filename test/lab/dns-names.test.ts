// Where nobody looks at the far end, a connection is one to the name that was asked for: dnsmasq answers, glibc asks, nginx serves.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DNSMASQ_SETTINGS } from '../../bpf/programs/testing/dns-lab.ts';
import type { Edge } from '../../host/api/edge-answer.ts';
import { atPort, sumsOf } from './edge-sums.ts';
import { Lab } from './lab.ts';
import { Nginx } from './nginx.ts';
import { waitFor } from './wait.ts';

const PORT = 8080;
/** Beside the server's own: an answer of more than 512 bytes. */
const LARGE = Array.from({ length: 60 }, (_, index) => `10.250.0.${index + 1}`);

test('connections are to the names that their agent saw answered, and to addresses for an agent that tells no names', async (t) => {
  const lab = new Lab({
    hosts: ['cli', 'plain', 'srv'],
    unwatched: ['srv'],
    agentArgs: (host) => (host === 'cli' ? ['--dns-names'] : []),
  });
  t.after(() => lab.stop());
  await lab.start();
  const server = lab.network.host('srv');
  const nginx = new Nginx(lab, 'srv', PORT);

  let log = '';
  const records = [
    ...[`--host-record=shop.test,${server.v4},${server.v6}`, '--cname=cdn.test,shop.test', '--cname=www.test,cdn.test'],
    ...[server.v4, ...LARGE].map((address) => `--host-record=large.test,${address}`),
  ];
  const dnsmasq: ChildProcess = server.spawn('dnsmasq', [...DNSMASQ_SETTINGS, ...records], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  lab.others.push(dnsmasq);
  for (const stream of [dnsmasq.stdout, dnsmasq.stderr])
    stream?.on('data', (chunk: Buffer) => {
      log += chunk.toString();
    });
  await waitFor(() => log.includes('started') || undefined, 'dnsmasq', { detail: () => log });

  const resolver = join(lab.directory, 'resolv.conf');
  writeFileSync(resolver, `nameserver ${server.v4}\noptions edns0\n`);
  const withResolver = (host: string, command: string): Promise<string> =>
    lab.network
      .host(host)
      .exec('unshare', '--mount', 'sh', '-c', `mount --bind ${resolver} /etc/resolv.conf && ${command}`);
  const untilConnections = (count: number): Promise<Edge[]> =>
    lab.untilEdges('id_id', `${count} connections`, (answer) => {
      const found = atPort(answer, PORT).filter(({ transport }) => transport === 'tcp');
      return sumsOf(found).connections >= count ? found : undefined;
    });
  // In a window the last answer counts, so each step is seen before the next one asks by another name.
  const steps: [string, string, string[]][] = [
    ['cli', '-4', ['www.test', 'www.test', 'www.test']],
    ['cli', '-6', ['shop.test', 'shop.test']],
    ['plain', '-4', ['www.test']],
  ];
  let connections = 0;
  for (const [host, family, names] of steps) {
    for (const name of names)
      await withResolver(
        host,
        `curl -sS ${family} --retry 20 --retry-connrefused -o /dev/null http://${name}:${PORT}/`,
      );
    connections += names.length;
    await untilConnections(connections);
  }
  const listed = await withResolver('cli', 'getent ahostsv4 large.test');
  for (const address of [server.v4, ...LARGE]) assert.ok(listed.includes(`${address} `), `${address} in ${listed}`);
  await withResolver('cli', `curl -sS -o /dev/null http://${server.v4}:${PORT}/`);
  assert.equal((await nginx.logged(7)).requests, 7);
  const edges = await untilConnections(7);
  assert.deepEqual(
    edges
      .map((edge) => [edge.client.host, edge.server.kind, edge.server.id, edge.server.role, edge.connections])
      .sort()
      .map((fields) => fields.join(' ')),
    [
      'cli dns large.test large.test 1',
      'cli dns shop.test shop.test 2',
      'cli dns www.test www.test 3',
      `plain private_address ${server.v4} (private) 1`,
    ],
  );
});
