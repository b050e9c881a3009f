// /proc/PID/cgroup as the runtimes leave it, with each cgroup driver and on v1, hybrid and v2 hosts. None of these runtimes runs where the tests
// do: the paths have the form in which these programs are known to make them; none was recorded from a running one. What a row stands for is its name.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { type CgroupOwner, chooseCgroupPath, readCgroupPath } from './cgroup.ts';

const ID = '3f1c5c0e8a7b4d6e9f2031425364758697a8b9cadbecfd0e1f2031425364758a';
const POD = '9c3ab9d4-6a5e-4f5e-8e53-0c8b7fd3f1a2';
const POD_UNDERSCORED = POD.replaceAll('-', '_');
/** Static pods have the hash of their manifest for a uid. */
const STATIC_POD = '4b3f2e1d0c9b8a7f6e5d4c3b2a190807';
const TASK = '8f0e1d2c3b4a59687766554433221100';
const ALLOCATION = '2f6ad5ff-1c22-4ad1-bd54-8a9ab8e3a1a0';

/** All v1 hierarchies of a host that mounts them, with the same path in each, and what is said in the unified one. */
function v1(path: string, unified?: string): string {
  const controllers = ['name=systemd', 'cpuset', 'cpu,cpuacct', 'memory', 'devices', 'pids'];
  const lines = controllers.map((each, index) => `${controllers.length - index}:${each}:${path}`);
  return [...lines, ...(unified === undefined ? [] : [`0::${unified}`]), ''].join('\n');
}

const v2 = (path: string): string => `0::${path}\n`;

const TREES: { name: string; text: string; owner: Partial<CgroupOwner> }[] = [
  {
    name: 'Docker, cgroupfs driver, v1',
    text: v1(`/docker/${ID}`),
    owner: { containerId: ID, containerRuntime: 'docker' },
  },
  {
    name: 'Docker, cgroupfs driver, hybrid: the unified hierarchy knows the daemon alone',
    text: v1(`/docker/${ID}`, '/system.slice/docker.service'),
    owner: { containerId: ID, containerRuntime: 'docker' },
  },
  {
    name: 'Docker, systemd driver, v2',
    text: v2(`/system.slice/docker-${ID}.scope`),
    owner: { containerId: ID, containerRuntime: 'docker' },
  },
  {
    name: 'Docker, rootless, v2',
    text: v2(`/user.slice/user-1000.slice/user@1000.service/user.slice/docker-${ID}.scope`),
    owner: { unit: 'user@1000.service', containerId: ID, containerRuntime: 'docker' },
  },
  {
    name: 'Podman, as root, v2',
    text: v2(`/machine.slice/libpod-${ID}.scope/container`),
    owner: { containerId: ID, containerRuntime: 'libpod' },
  },
  {
    name: 'Podman, cgroupfs driver, v1',
    text: v1(`/libpod_parent/libpod-${ID}`),
    owner: { containerId: ID, containerRuntime: 'libpod' },
  },
  { name: "Podman's monitor is no container", text: v2(`/machine.slice/libpod-conmon-${ID}.scope`), owner: {} },
  {
    name: 'containerd in Kubernetes, systemd driver, v2, burstable',
    text: v2(
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${POD_UNDERSCORED}.slice/cri-containerd-${ID}.scope`,
    ),
    owner: { containerId: ID, containerRuntime: 'containerd', podUid: POD, podQos: 'burstable' },
  },
  {
    name: 'containerd in Kubernetes, systemd driver, v2, guaranteed',
    text: v2(`/kubepods.slice/kubepods-pod${POD_UNDERSCORED}.slice/cri-containerd-${ID}.scope`),
    owner: { containerId: ID, containerRuntime: 'containerd', podUid: POD, podQos: 'guaranteed' },
  },
  {
    name: 'containerd in Kubernetes, cgroupfs driver, v1, best effort',
    text: v1(`/kubepods/besteffort/pod${POD}/${ID}`),
    owner: { containerId: ID, podUid: POD, podQos: 'besteffort' },
  },
  {
    name: 'containerd in Kubernetes, the systemd driver named to a runtime without it, v1',
    text: v1(`/system.slice/containerd.service/kubepods-burstable-pod${POD_UNDERSCORED}.slice:cri-containerd:${ID}`),
    owner: {
      ...{ unit: 'containerd.service', containerId: ID, containerRuntime: 'containerd' },
      ...{ podUid: POD, podQos: 'burstable' },
    },
  },
  {
    name: 'a static pod, cgroupfs driver, v2',
    text: v2(`/kubepods/burstable/pod${STATIC_POD}/${ID}`),
    owner: { containerId: ID, podUid: '4b3f2e1d-0c9b-8a7f-6e5d-4c3b2a190807', podQos: 'burstable' },
  },
  {
    name: 'CRI-O, systemd driver, v2',
    text: v2(
      `/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${POD_UNDERSCORED}.slice/crio-${ID}.scope`,
    ),
    owner: { containerId: ID, containerRuntime: 'crio', podUid: POD, podQos: 'besteffort' },
  },
  {
    name: 'CRI-O, systemd driver, v2, a process that manages groups of its own',
    text: v2(`/kubepods.slice/kubepods-pod${POD_UNDERSCORED}.slice/crio-${ID}.scope/container`),
    owner: { containerId: ID, containerRuntime: 'crio', podUid: POD, podQos: 'guaranteed' },
  },
  {
    name: 'CRI-O, cgroupfs driver, v1',
    text: v1(`/kubepods/burstable/pod${POD}/crio-${ID}`),
    owner: { containerId: ID, containerRuntime: 'crio', podUid: POD, podQos: 'burstable' },
  },
  {
    name: 'CRI-O, systemd driver, hybrid: the unified hierarchy has every process at its root',
    text: v1(
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${POD_UNDERSCORED}.slice/crio-${ID}.scope`,
      '/',
    ),
    owner: { containerId: ID, containerRuntime: 'crio', podUid: POD, podQos: 'burstable' },
  },
  {
    name: 'CRI-O, cgroupfs driver, hybrid, guaranteed',
    text: v1(`/kubepods/pod${POD}/crio-${ID}`, '/system.slice/crio.service'),
    owner: { containerId: ID, containerRuntime: 'crio', podUid: POD, podQos: 'guaranteed' },
  },
  {
    name: 'CRI-O, cgroupfs driver, v2',
    text: v2(`/kubepods/besteffort/pod${POD}/crio-${ID}`),
    owner: { containerId: ID, containerRuntime: 'crio', podUid: POD, podQos: 'besteffort' },
  },
  {
    name: 'containerd in Kubernetes, cgroupfs driver, hybrid: the unified hierarchy knows the daemon alone',
    text: v1(`/kubepods/burstable/pod${POD}/${ID}`, '/system.slice/containerd.service'),
    owner: { containerId: ID, podUid: POD, podQos: 'burstable' },
  },
  {
    name: 'kind: a cluster in a container, systemd driver, v2',
    text: v2(
      `/system.slice/docker-${'a'.repeat(64)}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${POD_UNDERSCORED}.slice/cri-containerd-${ID}.scope`,
    ),
    owner: { containerId: ID, containerRuntime: 'containerd', podUid: POD, podQos: 'burstable' },
  },
  {
    name: 'ECS on EC2, v1',
    text: v1(`/ecs/${TASK}/${ID}`),
    owner: { containerId: ID, containerRuntime: 'docker' },
  },
  {
    name: 'ECS on EC2, v2',
    text: v2(`/ecstasks.slice/ecstasks-${TASK}.slice/docker-${ID}.scope`),
    owner: { containerId: ID, containerRuntime: 'docker' },
  },
  {
    name: 'ECS on Fargate, v1',
    text: v1(`/ecs/${TASK}/${TASK}-1234567890`),
    owner: { containerId: `${TASK}-1234567890`, containerRuntime: 'docker' },
  },
  {
    name: 'ECS on EC2, hybrid',
    text: v1(`/ecs/${TASK}/${ID}`, '/system.slice/docker.service'),
    owner: { containerId: ID, containerRuntime: 'docker' },
  },
  {
    name: 'Nomad, exec driver, hybrid',
    text: v1(`/nomad/${ALLOCATION}.web`, '/system.slice/nomad.service'),
    owner: { containerId: `${ALLOCATION}.web`, containerRuntime: 'nomad', containerName: 'web' },
  },
  {
    name: 'Nomad, docker driver, v2',
    text: v2(`/system.slice/docker-${ID}.scope`),
    owner: { containerId: ID, containerRuntime: 'docker' },
  },
  {
    name: 'Nomad, exec driver, v2',
    text: v2(`/nomad.slice/share.slice/${ALLOCATION}.web.scope`),
    owner: { containerId: `${ALLOCATION}.web`, containerRuntime: 'nomad', containerName: 'web' },
  },
  {
    name: 'Nomad, exec driver, v1',
    text: v1(`/nomad/${ALLOCATION}.web`),
    owner: { containerId: `${ALLOCATION}.web`, containerRuntime: 'nomad', containerName: 'web' },
  },
  {
    name: 'LXC, a unit within the container, v2',
    text: v2('/lxc.payload.db-1/system.slice/postgresql.service'),
    owner: { unit: 'postgresql.service', containerId: 'db-1', containerRuntime: 'lxc', containerName: 'db-1' },
  },
  { name: 'systemd, a service, v2', text: v2('/system.slice/nginx.service'), owner: { unit: 'nginx.service' } },
  {
    name: 'systemd, an instance of a template in a slice of its own, hybrid',
    text: v1('/system.slice/system-postgresql.slice/postgresql@15-main.service', '/'),
    owner: { unit: 'postgresql@15-main.service' },
  },
  { name: 'systemd, a login, v2', text: v2('/user.slice/user-1000.slice/session-2.scope'), owner: {} },
  {
    name: 'systemd, an application of a desktop, v2',
    text: v2('/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal-77.scope'),
    owner: { unit: 'app-org.gnome.Terminal.scope' },
  },
  { name: 'no groups at all', text: '', owner: {} },
];

const NOBODY: CgroupOwner = {
  ...{ unit: '', containerId: '', containerRuntime: '', containerName: '' },
  ...{ podUid: '', podQos: '' },
};

for (const { name, text, owner } of TREES) {
  test(name, () => {
    assert.deepEqual(readCgroupPath(chooseCgroupPath(text)), { ...NOBODY, ...owner });
  });
}
