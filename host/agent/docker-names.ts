// What a container is called, by whoever started it: Amazon ECS, Nomad, Kubernetes, or somebody by hand.
import type { ContainerName, ContainerRuntime } from './container-runtime.ts';
import { type DockerContainer, inspectContainer, listContainers } from './docker-api.ts';
import { kubernetesName } from './kubernetes-labels.ts';

const ECS_FAMILY = 'com.amazonaws.ecs.task-definition-family';
const NOMAD_ALLOCATION = 'com.hashicorp.nomad.alloc_id';
const NOMAD_VARIABLES = ['NOMAD_JOB_NAME', 'NOMAD_GROUP_NAME', 'NOMAD_TASK_NAME'];

export function dockerRuntime(socket: string): ContainerRuntime {
  return {
    socket,
    runtimes: ['docker', 'libpod', ''],
    list: async () =>
      (await listContainers(socket)).map((container) => ({
        id: container.id,
        name: needsInspection(container) ? undefined : nameContainer(container),
      })),
    find: async (id) => {
      const container = await inspectContainer(socket, id);
      return container && nameContainer(container);
    },
  };
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
