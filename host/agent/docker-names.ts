// What a container is called, by whoever started it: Amazon ECS, Nomad, Kubernetes, or somebody by hand.
import type { DockerContainer } from './docker-api.ts';

export interface ContainerName {
  containerName: string;
  image: string;
  /** "" = none. */
  podUid: string;
}

const ECS_FAMILY = 'com.amazonaws.ecs.task-definition-family';
const KUBERNETES_CONTAINER = 'io.kubernetes.container.name';
const KUBERNETES_POD_UID = 'io.kubernetes.pod.uid';
/** The container that holds the namespaces of a pod. */
const KUBERNETES_PAUSE = 'POD';
const NOMAD_ALLOCATION = 'com.hashicorp.nomad.alloc_id';
const NOMAD_VARIABLES = ['NOMAD_JOB_NAME', 'NOMAD_GROUP_NAME', 'NOMAD_TASK_NAME'];

/** Its name stands in its environment, which a list of containers does not tell. */
export function needsInspection({ labels, environment }: DockerContainer): boolean {
  return environment === undefined && labels[NOMAD_ALLOCATION] !== undefined;
}

export function nameContainer(container: DockerContainer): ContainerName {
  const { name, image, labels } = container;
  const kubernetes = labels[KUBERNETES_CONTAINER];
  const containerName =
    labels[ECS_FAMILY] ??
    nomadName(container) ??
    (kubernetes === KUBERNETES_PAUSE ? undefined : kubernetes) ??
    name.replace(/^\//, '');
  return { containerName, image, podUid: labels[KUBERNETES_POD_UID] ?? '' };
}

/** job.group.task; of the environment nothing else is looked at. */
function nomadName({ environment = [] }: DockerContainer): string | undefined {
  const values = NOMAD_VARIABLES.map((variable) =>
    environment.find((entry) => entry.startsWith(`${variable}=`))?.slice(variable.length + 1),
  );
  return values.some((value) => value !== undefined) ? values.map((value) => value ?? 'unknown').join('.') : undefined;
}
