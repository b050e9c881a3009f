// A program that is started anew for each request and ends at once is one node, called by its executable, however its processes end.
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { closedAtBothEnds, sumOf } from './edge-sums.ts';
import { Lab, listening } from './lab.ts';
import { Nginx } from './nginx.ts';

const PORT = 8071;
const REQUESTS = 100;
/** Alike in the 15 characters of the kernel's comm, whatever follows. */
const PROGRAMS = ['short-lived-client-of-apples', 'short-lived-client-of-pears'];

test('processes that end at once: a node for each executable and none for their comm', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tributary-short-lived-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const program of PROGRAMS) copyFileSync('/bin/bash', join(directory, program));
  const lab = new Lab({ hosts: ['cli', 'srv'] });
  t.after(() => lab.stop());
  await lab.start();
  new Nginx(lab, 'srv', PORT);
  const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
  await listening(server, PORT);

  const connect = `: <>/dev/tcp/${server.v4}/${PORT}`;
  const connects = PROGRAMS.map((program) => `'${join(directory, program)}' -c '${connect}'`).join('; ');
  await client.exec('bash', '-c', `for ((i = 0; i < ${REQUESTS}; i++)); do ${connects}; done`);

  const count = REQUESTS * PROGRAMS.length;
  const edges = await lab.untilEdges('id_id', 'every connection, told by both ends', closedAtBothEnds(PORT, count));
  assert.equal(
    sumOf(edges, ({ connections }) => connections),
    count,
  );
  // Where the server's end was told first, the client's has its address for a name.
  const told = edges.filter(({ match }) => match.client + match.both > 0);
  assert.deepEqual([...new Set(told.map(({ client: { role } }) => role))].sort(), PROGRAMS);
});
