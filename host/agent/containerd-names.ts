// What a container of containerd is called, by whoever started it: Kubernetes or nerdctl.
import type { ContainerName, ContainerRuntime } from './container-runtime.ts';
import { type ContainerdContainer, findContainer, listContainers } from './containerd-api.ts';
import { kubernetesName } from './kubernetes-labels.ts';

const NERDCTL_NAME = 'nerdctl/name';

export function containerdRuntime(socket: string): ContainerRuntime {
  return {
    socket,
    runtimes: ['containerd', 'nerdctl', ''],
    list: async () => (await listContainers(socket)).map((each) => ({ id: each.id, name: nameContainer(each) })),
    find: async (id) => {
      const container = await findContainer(socket, id);
      return container && nameContainer(container);
    },
  };
}

function nameContainer({ image, labels }: ContainerdContainer): ContainerName {
  const { containerName, ...pod } = kubernetesName(labels);
  return { containerName: containerName || (labels[NERDCTL_NAME] ?? ''), image, ...pod };
}
