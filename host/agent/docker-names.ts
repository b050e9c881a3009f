// What a container is called, by whoever started it: Amazon ECS, Nomad, Kubernetes, or somebody by hand.
import { access } from 'node:fs/promises';
import type { ContainerName, ContainerRuntime } from './container-runtime.ts';
import type { DockerContainer } from './docker-api.ts';
import { kubernetesName } from './kubernetes-labels.ts';

const ECS_FAMILY = 'com.amazonaws.ecs.task-definition-family';
const NOMAD_ALLOCATION = 'com.hashicorp.nomad.alloc_id';
const NOMAD_VARIABLES = ['NOMAD_JOB_NAME', 'NOMAD_GROUP_NAME', 'NOMAD_TASK_NAME'];

export function dockerRuntime(socket: string): ContainerRuntime {
  return {
    socket,
    runtimes: ['docker', 'libpod', ''],
    list: async () => {
      const { listContainers } = await reach(socket);
      return (await listContainers(socket)).map((container) => ({
        id: container.id,
        name: needsInspection(container) ? undefined : nameContainer(container),
      }));
    },
    find: async (id) => {
      const { inspectContainer } = await reach(socket);
      const container = await inspectContainer(socket, id);
      return container && nameContainer(container);
    },
  };
}

/** The API, once there is a socket: what checks its answers takes 4 MiB, which a host without the daemon does not need. Throws ENOENT. */
async function reach(socket: string): Promise<typeof import('./docker-api.ts')> {
  await access(socket);
  return import('./docker-api.ts');
}

/** Its name stands in its environment, which a list of containers does not tell. */
function needsInspection({ labels, environment }: DockerContainer): boolean {
  return environment === undefined && labels[NOMAD_ALLOCATION] !== undefined;
}

function nameContainer(container: DockerContainer): ContainerName {
  const { name, image, labels } = container;
  const { containerName: kubernetes, ...pod } = kubernetesName(labels);
  const containerName = labels[ECS_FAMILY] ?? nomadName(container) ?? (kubernetes || name.replace(/^\//, ''));
  return { containerName, image, ...pod };
}

/** job.group.task; of the environment nothing else is looked at. */
function nomadName({ environment = [] }: DockerContainer): string | undefined {
  const values = NOMAD_VARIABLES.map((variable) =>
    environment.find((entry) => entry.startsWith(`${variable}=`))?.slice(variable.length + 1),
  );
  return values.some((value) => value !== undefined) ? values.map((value) => value ?? 'unknown').join('.') : undefined;
}
