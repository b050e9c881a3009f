// Questions to containerd's API (github.com/containerd/containerd, api/services/{namespaces,containers}/v1). It only reads, although the
// socket would allow anything.
import type { ClientHttp2Session } from 'node:http2';
import type { BinaryReader } from '@bufbuild/protobuf/wire';
import { callGrpc, openGrpc } from './grpc-call.ts';

/** What is asked of a container; the rest of the answer is not kept. */
export interface ContainerdContainer {
  id: string;
  image: string;
  labels: Readonly<Record<string, string>>;
}

/** Kubernetes has one, nerdctl another. Further ones are not looked into. */
const NAMESPACE_COUNT_MAX = 16;
/** Its containers have names that Docker alone knows. */
const DOCKER_NAMESPACE = 'moby';
const NAMESPACES = '/containerd.services.namespaces.v1.Namespaces';
const CONTAINERS = '/containerd.services.containers.v1.Containers';

type Wire = typeof import('@bufbuild/protobuf/wire');

/** Of all namespaces but Docker's. Throws an Error when nobody answers, or not in this way. */
export async function listContainers(socket: string): Promise<ContainerdContainer[]> {
  return ask(socket, async (session, wire) => {
    const containers: ContainerdContainer[] = [];
    for (const namespace of await listNamespaces(session, wire)) {
      const answer = await callGrpc(session, {
        ...{ path: `${CONTAINERS}/List`, metadata: inNamespace(namespace), message: new Uint8Array() },
      });
      if (answer === undefined) continue;
      readFields(new wire.BinaryReader(answer), { 1: (reader) => containers.push(readContainer(reader)) });
    }
    return containers;
  });
}

/** Undefined when no namespace has it. Throws an Error when nobody answers, or not in this way. */
export async function findContainer(socket: string, id: string): Promise<ContainerdContainer | undefined> {
  return ask(socket, async (session, wire) => {
    const message = new wire.BinaryWriter()
      .uint32((1 << 3) | wire.WireType.LengthDelimited)
      .string(id)
      .finish();
    for (const namespace of await listNamespaces(session, wire)) {
      const answer = await callGrpc(session, { path: `${CONTAINERS}/Get`, metadata: inNamespace(namespace), message });
      let container: ContainerdContainer | undefined;
      if (answer === undefined) continue;
      readFields(new wire.BinaryReader(answer), {
        1: (reader) => {
          container = readContainer(reader);
        },
      });
      return container;
    }
    return undefined;
  });
}

async function ask<Answer>(
  socket: string,
  question: (session: ClientHttp2Session, wire: Wire) => Promise<Answer>,
): Promise<Answer> {
  const session = await openGrpc(socket);
  try {
    return await question(session, await import('@bufbuild/protobuf/wire'));
  } finally {
    session.close();
  }
}

async function listNamespaces(session: ClientHttp2Session, wire: Wire): Promise<string[]> {
  const answer = await callGrpc(session, { path: `${NAMESPACES}/List`, message: new Uint8Array() });
  const names: string[] = [];
  if (answer === undefined) return names;
  const readNamespace = (reader: BinaryReader): void => readPart(reader, { 1: (part) => names.push(part.string()) });
  readFields(new wire.BinaryReader(answer), { 1: readNamespace });
  return names.filter((name) => name !== DOCKER_NAMESPACE).slice(0, NAMESPACE_COUNT_MAX);
}

function inNamespace(namespace: string): Record<string, string> {
  return { 'containerd-namespace': namespace };
}

/** Message Container: id = 1, labels = 2, image = 3. */
function readContainer(reader: BinaryReader): ContainerdContainer {
  const labels: Record<string, string> = {};
  const container = { id: '', image: '', labels };
  readPart(reader, {
    1: (part) => {
      container.id = part.string();
    },
    2: (part) => {
      const [key, value] = readLabel(part);
      labels[key] = value;
    },
    3: (part) => {
      container.image = part.string();
    },
  });
  return container;
}

/** An entry of a map is a message with key = 1 and value = 2. */
function readLabel(reader: BinaryReader): [string, string] {
  const entry: [string, string] = ['', ''];
  readPart(reader, {
    1: (part) => {
      entry[0] = part.string();
    },
    2: (part) => {
      entry[1] = part.string();
    },
  });
  return entry;
}

/** By number of the field. Each reads the value of its field; what is not asked for is skipped. */
type FieldReaders = Readonly<Record<number, (reader: BinaryReader) => void>>;

function readPart(reader: BinaryReader, fields: FieldReaders): void {
  const length = reader.uint32();
  readFields(reader, fields, reader.pos + length);
}

function readFields(reader: BinaryReader, fields: FieldReaders, end = reader.len): void {
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    const read = fields[field];
    if (read === undefined) reader.skip(wireType, field);
    else read(reader);
  }
}
