// What Kubernetes says of a container's pod, as one text that all containers of the pod share: uid, class of service, namespace and name,
// a NUL between them. The empty text when nothing is known.

import { allocate } from '../lib/arena';
import { cutLength } from '../lib/intern';

/** Limits, bytes: Kubernetes' own (RFC 1123 names), rounded up. */
const POD_UID_BYTES_MAX: u32 = 36;
const POD_QOS_BYTES_MAX: u32 = 16;
const POD_NAMESPACE_BYTES_MAX: u32 = 64;
const POD_NAME_BYTES_MAX: u32 = 256;
export const POD_BYTES_MAX: u32 =
  POD_UID_BYTES_MAX + POD_QOS_BYTES_MAX + POD_NAMESPACE_BYTES_MAX + POD_NAME_BYTES_MAX + 3;

let joined: usize = 0;
let end: usize = 0;

export function initPods(): void {
  joined = allocate(POD_BYTES_MAX);
}

/** Joins the texts at `podAddress()`, where they stay until the next call; returns the bytes. */
export function joinPod(
  uid: usize,
  uidBytes: u32,
  qos: usize,
  qosBytes: u32,
  namespace_: usize,
  namespaceBytes: u32,
  name: usize,
  nameBytes: u32,
): u32 {
  if ((uidBytes | qosBytes | namespaceBytes | nameBytes) === 0) return 0;
  end = joined;
  append(uid, uidBytes, POD_UID_BYTES_MAX);
  separate();
  append(qos, qosBytes, POD_QOS_BYTES_MAX);
  separate();
  append(namespace_, namespaceBytes, POD_NAMESPACE_BYTES_MAX);
  separate();
  append(name, nameBytes, POD_NAME_BYTES_MAX);
  return <u32>(end - joined);
}

export function podAddress(): usize {
  return joined;
}

function separate(): void {
  store<u8>(end++, 0);
}

/** A text that has a NUL is no name of Kubernetes' and would move those behind it: it is left out. */
function append(text: usize, bytes: u32, bytesMax: u32): void {
  const length = cutLength(text, bytes, bytesMax);
  for (let index: u32 = 0; index < length; index++) {
    if (load<u8>(text + index) === 0) return;
  }
  memory.copy(end, text, length);
  end += length;
}
