import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { type CgroupName, type CgroupOwner, chooseCgroupPath, parseCgroupName, readCgroupPath } from './cgroup.ts';

const UID = '0a1b2c3d-1111-2222-3333-444455556666';
const UNDERSCORED = UID.replaceAll('-', '_');
const NOBODY: CgroupOwner = {
  ...{ unit: '', containerId: '', containerRuntime: '', containerName: '' },
  ...{ podUid: '', podQos: '' },
};
const HEX64 = '0123456789abcdef'.repeat(4);

test('the name of a control group tells pod, container, runtime and service', () => {
  const rows: [string, Partial<CgroupName> | undefined][] = [
    [
      `kubepods-burstable-pod${UNDERSCORED}.slice:cri-containerd:${HEX64}`,
      { qos: 'burstable', podUid: UID, runtime: 'containerd', containerId: HEX64 },
    ],
    [`kubepods-besteffort-pod${UNDERSCORED}.slice`, { qos: 'besteffort', podUid: UID }],
    ['kubepods-besteffort.slice', { qos: 'besteffort' }],
    [`kubepods-pod${UNDERSCORED}.slice`, { podUid: UID }],
    [
      `kubepods-pod${UNDERSCORED}.slice:cri-containerd:${HEX64}`,
      { podUid: UID, runtime: 'containerd', containerId: HEX64 },
    ],
    [`kubelet-kubepods-burstable-pod${UNDERSCORED}.slice`, { qos: 'burstable', podUid: UID }],
    [
      `kubelet-kubepods-pod${UNDERSCORED}.slice:cri-crio:${HEX64}`,
      { podUid: UID, runtime: 'crio', containerId: HEX64 },
    ],
    [`cri-containerd-${HEX64}.scope`, { runtime: 'containerd', containerId: HEX64 }],
    [`docker-${HEX64}.scope`, { runtime: 'docker', containerId: HEX64 }],
    [`crio-${HEX64}.scope`, { runtime: 'crio', containerId: HEX64 }],
    [`libpod-${HEX64}.scope`, { runtime: 'libpod', containerId: HEX64 }],
    [`pod${UNDERSCORED}`, { podUid: UID }],
    [`pod${UID}`, { podUid: UID }],
    [`pod${UID.replaceAll('-', '')}`, { podUid: UID }],
    [HEX64, { containerId: HEX64 }],
    [`${HEX64.slice(0, 32)}-1234567890`, { containerId: `${HEX64.slice(0, 32)}-1234567890` }],
    [`${UID}.web.scope`, { containerId: `${UID}.web`, containerName: 'web' }],
    [`${UID}.web`, { containerId: `${UID}.web`, containerName: 'web' }],
    ['lxc.payload.db-1', { containerId: 'db-1', containerName: 'db-1' }],
    ['lxc.monitor.db-1', undefined],
    [`nerdctl-${HEX64}.scope`, { runtime: 'nerdctl', containerId: HEX64 }],
    [`crio-conmon-${HEX64}.scope`, undefined],
    ['nginx.service', { service: 'nginx' }],
    ['kubepods', undefined],
    ['kubepods.slice', undefined],
    ['1234abcd', undefined],
    ['junk', undefined],
    ['session-3.scope', undefined],
    ['', undefined],
    [`docker-${HEX64.slice(1)}.scope`, undefined],
  ];
  const empty: CgroupName = { qos: '', podUid: '', runtime: '', containerId: '', containerName: '', service: '' };
  for (const [name, expected] of rows) {
    assert.deepEqual(parseCgroupName(name), expected === undefined ? undefined : { ...empty, ...expected }, name);
  }
});

test('a path tells the deepest unit and the deepest container, and the pod', () => {
  const pod = { podUid: UID, containerId: HEX64 };
  const rows: [string, Partial<CgroupOwner>][] = [
    ['/system.slice/nginx.service', { unit: 'nginx.service' }],
    ['/system.slice/nginx.service/worker', { unit: 'nginx.service' }],
    ['/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service', { unit: 'app-x.service' }],
    ['/user.slice/user-1000.slice/user@1000.service/init.scope', { unit: 'user@1000.service' }],
    [
      '/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-4242.scope',
      { unit: 'app-gnome-firefox.scope' },
    ],
    ['/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-8a1e4d3c.scope', {}],
    ['/user.slice/user-1000.slice/session-3.scope', {}],
    [`/system.slice/docker-${HEX64}.scope`, { containerId: HEX64, containerRuntime: 'docker' }],
    [`/docker/${HEX64}`, { containerId: HEX64, containerRuntime: 'docker' }],
    [`/ecs/0123/${HEX64}`, { containerId: HEX64, containerRuntime: 'docker' }],
    [`/kubepods/burstable/pod${UID}/${HEX64}`, { ...pod, podQos: 'burstable' }],
    [`/kubepods/pod${UID}/${HEX64}`, { ...pod, podQos: 'guaranteed' }],
    ['/kubepods/besteffort', {}],
    [
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UNDERSCORED}.slice/cri-containerd-${HEX64}.scope`,
      { ...pod, podQos: 'burstable', containerRuntime: 'containerd' },
    ],
    [`/system.slice/docker-${HEX64}.scope/init.scope`, { containerId: HEX64, containerRuntime: 'docker' }],
    [`/docker/${'f'.repeat(64)}/docker/${HEX64}`, { containerId: HEX64, containerRuntime: 'docker' }],
    ['/', {}],
  ];
  for (const [path, expected] of rows) assert.deepEqual(readCgroupPath(path), { ...NOBODY, ...expected }, path);
});

test('of several hierarchies the one that knows a container counts, then the one that knows a unit, then the unified one', () => {
  const rows: [string, string[], string][] = [
    ['v2 alone', ['0::/system.slice/nginx.service'], '/system.slice/nginx.service'],
    ['v1 alone', ['5:memory:/user.slice', '1:name=systemd:/system.slice/ssh.service'], '/system.slice/ssh.service'],
    ['hybrid, v2 empty', ['1:name=systemd:/system.slice/ssh.service', '0::/'], '/system.slice/ssh.service'],
    [
      'hybrid, the container is in a v1 hierarchy',
      ['4:memory:/docker/' + HEX64, '0::/system.slice/docker.service'],
      '/docker/' + HEX64,
    ],
    ['v1 with joined controllers', ['3:cpu,cpuacct:/docker/' + HEX64], '/docker/' + HEX64],
    ['nothing known', ['9:name=systemd:/', '0::/'], '/'],
    [
      'a path with a colon',
      [`0::/kubepods-pod${UNDERSCORED}.slice:cri-crio:${HEX64}`],
      `/kubepods-pod${UNDERSCORED}.slice:cri-crio:${HEX64}`,
    ],
    ['no line', [], ''],
  ];
  for (const [name, lines, expected] of rows)
    assert.equal(chooseCgroupPath(lines.map((line) => `${line}\n`).join('')), expected, name);
});
