// Announce: processes, address spaces, labels and the addresses of the host. The names go to enrich; sockets use handles from here on.

import { nodeOfProcess } from '../enrich/labels';
import { joinPod, podAddress } from '../enrich/pods';
import { RefusalReason } from '../gen/records';
import { Announce, Process, verifyAnnounce } from '../gen/wire';
import { giveBlock } from '../lib/arena';
import { countRefusal } from '../lib/counters';
import { countOf } from '../lib/flatbuffer-read';
import { stableHashBytes } from '../lib/hash';
import { endLabel, ensureLabel, isKnownLabel, LABEL_HANDLE_MAX, setLabel } from './labels';
import { applyNamedAddresses, checkNamedAddresses } from './named-addresses';
import { Session } from './session';
import { canStage } from './staging';
import {
  ADDRESS_SPACE_COUNT_MAX,
  addressAt,
  ensureAddresses,
  ensureProcess,
  ensureSpace,
  HOST_ADDRESS_COUNT_MAX,
  isKnownProcess,
  OwnAddress,
  PROCESS_COUNT_MAX,
  setProcess,
  setSpace,
  spaceOf,
  stageAddress,
} from './twin-tables';

const STAGED_ADDRESS_BYTES: u64 = 64;

/** RefusalReason; when None the frame has been applied. */
export function takeAnnounce(session: Session, payload: usize, bytes: u32): u8 {
  if (!verifyAnnounce(payload, bytes)) return RefusalReason.Structure;
  const announce = Announce.root(payload);
  let reason = checkProcesses(session, announce);
  if (reason === RefusalReason.None) reason = checkSpaces(session, announce);
  if (reason === RefusalReason.None) reason = checkAddresses(session, announce);
  if (reason === RefusalReason.None) reason = checkLabels(session, announce);
  if (reason === RefusalReason.None) reason = checkNamedAddresses(session, announce);
  if (reason !== RefusalReason.None) return reason;
  applyProcesses(session, announce);
  for (let index: u32 = 0; index < countOf(announce.addressSpaces); index++) {
    const space = announce.addressSpacesAt(index);
    setSpace(session, space.handle, stableHashBytes(space.name, countOf(space.name)) | 1);
  }
  if (announce.hostAddresses !== 0) replaceAddresses(session, announce);
  applyNamedAddresses(session, announce);
  applyLabels(session, announce);
  return RefusalReason.None;
}

function checkProcesses(session: Session, announce: Announce): u8 {
  const ended = countOf(announce.endedProcesses);
  for (let index: u32 = 0; index < ended; index++) {
    const handle = announce.endedProcessesAt(index);
    if (handle === 0 || !isKnownProcess(session, handle)) return RefusalReason.UnknownProcess;
  }
  const count = countOf(announce.processes);
  for (let index: u32 = 0; index < count; index++) {
    const handle = announce.processesAt(index).handle;
    if (handle === 0 || handle >= PROCESS_COUNT_MAX) return RefusalReason.ProcessQuota;
    if (!ensureProcess(session, handle)) return RefusalReason.Memory;
  }
  return RefusalReason.None;
}

function checkSpaces(session: Session, announce: Announce): u8 {
  const count = countOf(announce.addressSpaces);
  for (let index: u32 = 0; index < count; index++) {
    const handle = announce.addressSpacesAt(index).handle;
    if (handle === 0 || handle >= ADDRESS_SPACE_COUNT_MAX) return RefusalReason.AddressSpaceQuota;
    if (!ensureSpace(session, handle)) return RefusalReason.Memory;
  }
  return RefusalReason.None;
}

function checkAddresses(session: Session, announce: Announce): u8 {
  const count = addressCount(announce);
  for (let index: u32 = 0; index < count; index++) {
    if (spaceOf(session, announce.hostAddressesAt(index).addressSpace) === 0) return RefusalReason.UnknownAddressSpace;
  }
  return canStage(session, STAGED_ADDRESS_BYTES * (count + session.addressCount))
    ? RefusalReason.None
    : RefusalReason.Memory;
}

function checkLabels(session: Session, announce: Announce): u8 {
  const ended = countOf(announce.endedLabels);
  for (let index: u32 = 0; index < ended; index++) {
    const handle = announce.endedLabelsAt(index);
    if (handle === 0 || !isKnownLabel(session, handle)) return RefusalReason.UnknownLabel;
  }
  const count = countOf(announce.labels);
  for (let index: u32 = 0; index < count; index++) {
    const handle = announce.labelsAt(index).handle;
    if (handle === 0 || handle >= LABEL_HANDLE_MAX) return RefusalReason.LabelQuota;
    if (!ensureLabel(session, handle)) return RefusalReason.Memory;
  }
  return RefusalReason.None;
}

function applyLabels(session: Session, announce: Announce): void {
  const ended = countOf(announce.endedLabels);
  for (let index: u32 = 0; index < ended; index++) endLabel(session, announce.endedLabelsAt(index));
  const count = countOf(announce.labels);
  for (let index: u32 = 0; index < count; index++) {
    const label = announce.labelsAt(index);
    setLabel(session, label.handle, label.text, countOf(label.text));
  }
}

/** What is beyond the limit is left out, and counted when it is applied. */
function addressCount(announce: Announce): u32 {
  return min(countOf(announce.hostAddresses), HOST_ADDRESS_COUNT_MAX);
}

function applyProcesses(session: Session, announce: Announce): void {
  const ended = countOf(announce.endedProcesses);
  for (let index: u32 = 0; index < ended; index++) setProcess(session, announce.endedProcessesAt(index), 0, false);
  const count = countOf(announce.processes);
  for (let index: u32 = 0; index < count; index++) {
    const process = announce.processesAt(index);
    setProcess(session, process.handle, nameProcess(session, process), true);
  }
}

function nameProcess(session: Session, process: Process): u32 {
  const podBytes = joinPod(
    process.podUid,
    countOf(process.podUid),
    process.podQos,
    countOf(process.podQos),
    process.podNamespace,
    countOf(process.podNamespace),
    process.podName,
    countOf(process.podName),
  );
  return nodeOfProcess(
    session.host,
    process.comm,
    countOf(process.comm),
    process.executable,
    countOf(process.executable),
    process.unit,
    countOf(process.unit),
    process.containerId,
    countOf(process.containerId),
    process.containerName,
    countOf(process.containerName),
    process.image,
    countOf(process.image),
    podAddress(),
    podBytes,
  );
}

function replaceAddresses(session: Session, announce: Announce): void {
  if (countOf(announce.hostAddresses) > HOST_ADDRESS_COUNT_MAX) countRefusal(RefusalReason.HostAddressQuota);
  const count = addressCount(announce);
  const before = session.addresses;
  const beforeCount = session.addressCount;
  const beforeCapacity = session.addressCapacity;
  session.addresses = 0;
  session.addressCount = 0;
  session.addressCapacity = 0;
  if (count !== 0 && !ensureAddresses(session, count)) unreachable();
  for (let index: u32 = 0; index < count; index++) {
    const told = announce.hostAddressesAt(index);
    const space = spaceOf(session, told.addressSpace);
    if (isListed(session.addresses, session.addressCount, told.addressHi, told.addressLo, space)) continue;
    const own = addressAt(session, session.addressCount++);
    own.high = told.addressHi;
    own.low = told.addressLo;
    own.space = space;
    if (!isListed(before, beforeCount, own.high, own.low, space)) stageAddress(session, own, 0);
  }
  for (let index: u32 = 0; index < beforeCount; index++) {
    const own = changetype<OwnAddress>(before + <usize>index * offsetof<OwnAddress>());
    if (!isListed(session.addresses, session.addressCount, own.high, own.low, own.space)) stageAddress(session, own, 1);
  }
  if (before !== 0) giveBlock(before, <usize>beforeCapacity * offsetof<OwnAddress>());
}

function isListed(addresses: usize, count: u32, high: u64, low: u64, space: u64): bool {
  const end = addresses + <usize>count * offsetof<OwnAddress>();
  for (let at = addresses; at < end; at += offsetof<OwnAddress>()) {
    const own = changetype<OwnAddress>(at);
    if (own.low === low && own.high === high && own.space === space) return true;
  }
  return false;
}
