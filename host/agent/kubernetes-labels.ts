// The labels that a kubelet has every runtime put on a container.
import type { ContainerName } from './container-runtime.ts';

/** The container that holds the namespaces of a pod. */
const PAUSE = 'POD';

export function kubernetesName(labels: Readonly<Record<string, string>>): Omit<ContainerName, 'image'> {
  const { 'io.kubernetes.container.name': name = '' } = labels;
  return {
    containerName: name === PAUSE ? '' : name,
    podUid: labels['io.kubernetes.pod.uid'] ?? '',
    podNamespace: labels['io.kubernetes.pod.namespace'] ?? '',
    podName: labels['io.kubernetes.pod.name'] ?? '',
  };
}
