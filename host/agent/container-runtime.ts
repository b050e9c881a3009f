// What is asked of a container runtime, whichever it is.

/** What a container is called, and what it belongs to. Texts that are not known are "". */
export interface ContainerName {
  containerName: string;
  image: string;
  podUid: string;
  podNamespace: string;
  podName: string;
}

export interface ContainerRuntime {
  /** Path of its socket. */
  readonly socket: string;
  /** As control groups name the runtimes of its containers; "" = that of a group that names none. */
  readonly runtimes: readonly string[];
  /** Its containers with their names; undefined for a name that `find` alone tells. Throws an Error when nobody answers, or not in its way. */
  list(): Promise<{ id: string; name: ContainerName | undefined }[]>;
  /** Undefined when it does not know the container. Throws as `list` does. `id`: 64 hexadecimal digits. */
  find(id: string): Promise<ContainerName | undefined>;
}
