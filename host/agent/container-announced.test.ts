import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { type Announce, decodeAnnounce, type Process } from '../wire/gen/wire-tables.ts';
import { Announcements } from './announcements.ts';

const CONTAINER = 'c'.repeat(64);
const NAME = {
  containerName: 'web',
  image: 'nginx:1.27',
  podUid: 'of the runtime',
  podNamespace: 'shop',
  podName: 'web-0',
};

function process(handle: number, values: Partial<Process> = {}): Process {
  return {
    ...{ handle, pid: handle, uid: 0, startTimeNs: 0n, comm: 'nginx', executable: '', unit: '' },
    ...{ containerId: CONTAINER, containerRuntime: 'docker', cgroup: '' },
    ...values,
  };
}

function processesOf(announcements: Announcements): [number, string | undefined, string | undefined][] {
  const payloads = announcements.encodeNews({ processes: [], labels: [] });
  return payloads
    .map(({ payload }): Announce => decodeAnnounce(payload) ?? assert.fail('no Announce'))
    .flatMap(({ processes = [] }) => processes)
    .map(({ handle, containerName, podUid }) => [handle, containerName, podUid]);
}

test('a name that comes before the window ends is told with the process, one that comes later tells it again', () => {
  const announcements = new Announcements({ addressSpace: 'default', boot: 'b' });
  announcements.addProcess(process(1));
  announcements.addProcess(process(2, { containerId: 'd'.repeat(64) }));
  announcements.nameContainer(CONTAINER, NAME);
  assert.deepEqual(processesOf(announcements), [
    [1, 'web', 'of the runtime'],
    [2, undefined, undefined],
  ]);
  announcements.nameContainer(CONTAINER, { ...NAME, containerName: 'web-2' });
  assert.deepEqual(processesOf(announcements), [[1, 'web-2', 'of the runtime']]);
  assert.deepEqual(processesOf(announcements), []);
});

test('the pod uid of the control group stays; processes that have ended are not named', () => {
  const announcements = new Announcements({ addressSpace: 'default', boot: 'b' });
  announcements.addProcess(process(1, { podUid: 'of the path' }));
  announcements.addProcess(process(2));
  processesOf(announcements);
  announcements.encodeNews({ processes: [2], labels: [] });
  announcements.nameContainer(CONTAINER, NAME);
  assert.deepEqual(processesOf(announcements), [[1, 'web', 'of the path']]);
});
