// Names an end by what the agent knows of its owner. Ladder, best first: container, systemd unit, process, host. All texts are UTF-8
// as (address, bytes); they are copied when they are new, cut at their limits on a character boundary.
//
// A returned node is borrowed: whoever stores it beyond the window retains it (nodes.ts).

import { NodeKind } from '../gen/records';
import { allocate } from '../lib/arena';
import { internText, retainText, textAddress, textBytes } from '../lib/intern';
import { LiteralText } from './literal-text';
import {
  CONTAINER_BYTES_MAX,
  CONTAINER_NAME_BYTES_MAX,
  draftNode,
  HOST_BYTES_MAX,
  ID_BYTES_MAX,
  IMAGE_BYTES_MAX,
  Node,
  nodeAt,
  nodeOfDraft,
  PROCESS_BYTES_MAX,
  ROLE_BYTES_MAX,
  unknownNode,
  ZONE_BYTES_MAX,
} from './nodes';
import { POD_BYTES_MAX } from './pods';

/** The role of a container that nobody names: what `docker ps` prints of its id. */
const CONTAINER_ROLE_BYTES: u32 = 12;
const SLASH: u8 = 0x2f;

/** What the kernel appends to the path of an executable that was replaced. */
let deletedSuffix: LiteralText = changetype<LiteralText>(0);
let joined: usize = 0;

export function initLabels(): void {
  deletedSuffix = LiteralText.of(' (deleted)');
  joined = allocate(HOST_BYTES_MAX + 1 + ROLE_BYTES_MAX);
}

/** The host an agent runs on, in its zone. Also the node of whatever is known to be there and nothing more. */
export function nodeOfHost(name: usize, nameBytes: u32, zone: usize, zoneBytes: u32): u32 {
  if (nameBytes === 0) return unknownNode();
  const draft = draftNode(NodeKind.Host);
  draft.host = internText(name, nameBytes, HOST_BYTES_MAX);
  draft.id = retainText(draft.host);
  draft.role = retainText(draft.host);
  draft.zone = internText(zone, zoneBytes, ZONE_BYTES_MAX);
  return nodeOfDraft();
}

/** An address that no agent looks at, by the name that was asked for: both its id and its role. */
export function nodeOfName(name: usize, bytes: u32): u32 {
  const draft = draftNode(NodeKind.DnsName);
  draft.id = internText(name, bytes, ID_BYTES_MAX);
  draft.role = internText(name, bytes, ROLE_BYTES_MAX);
  return nodeOfDraft();
}

/**
 * The owner of a socket on `host` (from `nodeOfHost`). Texts that are not known are empty; all empty gives `host` itself. Processes of one
 * unit or container with different executables are different nodes, whose `idNodeOf` is one. `pod`: as pods.ts joins it. What is known of
 * an image or a pod without a container is not kept.
 */
export function nodeOfProcess(
  host: u32,
  comm: usize,
  commBytes: u32,
  executable: usize,
  executableBytes: u32,
  unit: usize,
  unitBytes: u32,
  container: usize,
  containerBytes: u32,
  containerName: usize,
  containerNameBytes: u32,
  image: usize,
  imageBytes: u32,
  pod: usize,
  podBytes: u32,
): u32 {
  const pathBytes = withoutDeleted(executable, executableBytes);
  const basename = basenameStart(executable, pathBytes);
  let process = executable + basename;
  let processBytes = pathBytes - basename;
  // Without an executable it may be a kernel thread; those whose names count ("kworker/3:1") are the host's own work.
  if (processBytes === 0 && !contains(comm, commBytes, SLASH)) {
    process = comm;
    processBytes = commBytes;
  }
  // No program has one in its name, and the names of an edge are separated by it.
  if (contains(process, processBytes, 0)) processBytes = 0;
  if (containerBytes !== 0) {
    const draft = draftContainer(host, container, containerBytes, containerName, containerNameBytes);
    draft.process = internText(process, processBytes, PROCESS_BYTES_MAX);
    draft.image = internText(image, imageBytes, IMAGE_BYTES_MAX);
    draft.pod = internText(pod, podBytes, POD_BYTES_MAX);
    return nodeOfDraft();
  }
  if (unitBytes !== 0) return nodeOnHost(NodeKind.Service, host, unit, unitBytes, process, processBytes);
  if (processBytes === 0) return host;
  return nodeOnHost(NodeKind.Process, host, process, processBytes, process, processBytes);
}

/** Its role is its name, or the start of its id. */
function draftContainer(host: u32, container: usize, containerBytes: u32, name: usize, nameBytes: u32): Node {
  const draft = draftOn(nodeAt(host), NodeKind.Container);
  draft.id = internText(container, containerBytes, CONTAINER_BYTES_MAX);
  draft.container = retainText(draft.id);
  draft.containerName = internText(name, nameBytes, CONTAINER_NAME_BYTES_MAX);
  draft.role =
    nameBytes === 0
      ? internText(container, min(containerBytes, CONTAINER_ROLE_BYTES), ROLE_BYTES_MAX)
      : internText(name, nameBytes, ROLE_BYTES_MAX);
  return draft;
}

/** A node whose id is "host/name" and whose role is the name. */
function nodeOnHost(kind: u32, host: u32, name: usize, nameBytes: u32, process: usize, processBytes: u32): u32 {
  const hostRow = nodeAt(host);
  const draft = draftOn(hostRow, kind);
  draft.role = internText(name, nameBytes, ROLE_BYTES_MAX);
  const hostBytes = textBytes(hostRow.host);
  const roleBytes = textBytes(draft.role);
  memory.copy(joined, textAddress(hostRow.host), hostBytes);
  store<u8>(joined + hostBytes, SLASH);
  memory.copy(joined + hostBytes + 1, textAddress(draft.role), roleBytes);
  draft.id = internText(joined, hostBytes + 1 + roleBytes, ID_BYTES_MAX);
  draft.process = internText(process, processBytes, PROCESS_BYTES_MAX);
  return nodeOfDraft();
}

function draftOn(host: Node, kind: u32): Node {
  const draft = draftNode(kind);
  draft.host = retainText(host.host);
  draft.zone = retainText(host.zone);
  return draft;
}

function withoutDeleted(path: usize, bytes: u32): u32 {
  const suffix = deletedSuffix.bytes;
  if (bytes <= suffix) return bytes;
  const rest = bytes - suffix;
  return memory.compare(path + rest, deletedSuffix.address, suffix) === 0 ? rest : bytes;
}

/** Offset behind the last slash. */
function basenameStart(path: usize, bytes: u32): u32 {
  let start = bytes;
  while (start > 0 && load<u8>(path + start - 1) !== SLASH) start--;
  return start;
}

function contains(text: usize, bytes: u32, byte: u8): bool {
  for (let index: u32 = 0; index < bytes; index++) {
    if (load<u8>(text + index) === byte) return true;
  }
  return false;
}
