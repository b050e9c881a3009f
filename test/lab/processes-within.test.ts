// Two programs within one unit talk to one server: one edge of the unit, which names both. The unit is a control group as systemd would make it.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findCgroupRoot } from '../../host/agent/cgroup-paths.ts';
import { atPort, joinedEdge } from './edge-sums.ts';
import { Lab, listening } from './lab.ts';
import { Nginx } from './nginx.ts';
import { waitFor } from './wait.ts';

const PORT = 8070;
const UNIT = `zt${process.pid.toString(36)}-orchard.service`;
const PROGRAMS = ['apple', 'pear'];

test('an edge of a unit names the processes within it that have this edge', async (t) => {
  const enter = makeUnit(t);
  const directory = mkdtempSync(join(tmpdir(), 'tributary-within-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  for (const program of PROGRAMS) copyFileSync('/usr/bin/curl', join(directory, program));
  const lab = new Lab({ hosts: ['cli', 'srv'] });
  t.after(() => lab.stop());
  await lab.start();
  new Nginx(lab, 'srv', PORT);
  const [client, server] = [lab.network.host('cli'), lab.network.host('srv')];
  await listening(server, PORT);
  const fetchWith = (program: string): Promise<string> =>
    client.exec(
      'sh',
      '-c',
      `${enter}; exec '${join(directory, program)}' -sS http://${server.v4}:${PORT}/ -o /dev/null`,
    );

  const namesAfter = async (count: number): Promise<{ id: string; kind: string; processes: string[] }> =>
    lab.untilEdges('id_id', `${count} connections of the unit`, (answer) => {
      const edges = atPort(answer, PORT).filter(({ match }) => match.both > 0);
      return edges.length > 0 && joinedEdge(edges).match.both >= count ? joinedEdge(edges).client : undefined;
    });
  await fetchWith('apple');
  const alone = await namesAfter(1);
  assert.deepEqual([alone.id, alone.kind, alone.processes], [`cli/${UNIT}`, 'service', ['apple']]);
  await fetchWith('pear');
  assert.deepEqual((await namesAfter(2)).processes, PROGRAMS);
});

/** Makes the control group, and gives the command with which a shell enters it. */
function makeUnit(t: TestContext): string {
  const group = join(findCgroupRoot() ?? '', 'system.slice', UNIT);
  mkdirSync(group, { recursive: true });
  t.after(() => waitFor(() => isRemoved(group), 'the last process of the unit to end'));
  return `echo $$ > '${join(group, 'cgroup.procs')}'`;
}

function isRemoved(group: string): true | undefined {
  try {
    rmdirSync(group);
    return true;
  } catch {
    return undefined;
  }
}
