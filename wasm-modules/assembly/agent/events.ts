// Applies what the kernel said to the table of sockets. Any event can come first: the ring has one order, scans another, and an opening can
// be lost. So every event carries the whole socket, and each kind of knowledge has its own rule: totals never fall, a better source of the
// role wins, a process that used the socket beats its listener, and after the close nothing changes.
import {
  CloseReason,
  ConnectionPhase,
  DNS_MESSAGE_SIZE,
  DnsMessage,
  DROP_COUNT_SIZE,
  DropCount,
  SocketFlag as EventFlag,
  KernelEventType,
  LISTENER_EVENT_SIZE,
  ListenerEvent,
  Role,
  RoleSource,
  SOCKET_EVENT_SIZE,
  SocketEvent,
} from '../gen/kernel-events';
import { TallyKind, Totals } from '../gen/wire';
import { retainSpaceOf } from './address-spaces';
import { currentCensus } from './census';
import { applyDatagramDrops } from './datagram-drops';
import { applyDnsMessage } from './dns/dns';
import { applyDropCount } from './drops';
import { changeTold } from './journal';
import { isNamingDue, releaseProcess, retainOwner } from './processes';
import { endSocket } from './retention';
import { SocketFlag, SocketRow } from './socket-row';
import { addSocket, findSocket, markDirty, socketAt } from './sockets';
import { tally } from './tallies';
import { applyHealth, beginHealth } from './tcp-health';
import { AS_NOW, keepNow, NOTHING, retainVersion, setCommitted } from './versions';

export let eventsApplied: u64 = 0;
export let eventsMalformed: u64 = 0;
export let eventsRepeated: u64 = 0;
export let eventsStale: u64 = 0;
export let openingsInferred: u64 = 0;
export let ownersUnmatched: u64 = 0;
export let amendments: u64 = 0;
export let joinKeysLate: u64 = 0;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/** What every event begins with: type u16, size u16, cpu u32, time u64. */
const HEADER_BYTES: u32 = 16;

/**
 * Applies whole events; returns the bytes of those applied, fewer when the host has to name processes first. Behind an event without a
 * believable size nothing can be found, so the rest is passed over.
 */
export function applyEvents(address: usize, bytes: u32): u32 {
  let at: u32 = 0;
  while (at < bytes && !isNamingDue()) {
    const left = bytes - at;
    const size: u32 = left < HEADER_BYTES ? 0 : load<u16>(address + at, 2);
    eventsApplied++;
    if (size < HEADER_BYTES || size > left || (size & 7) !== 0) {
      eventsMalformed++;
      return bytes;
    }
    if (!applyEvent(address + at, size)) eventsMalformed++;
    at += size;
  }
  return at;
}

/** Returns false for what is no event: an unknown type, a size that is not its type's, a value that it cannot have. */
function applyEvent(address: usize, size: u32): bool {
  const type = load<u16>(address);
  switch (type) {
    case KernelEventType.SocketOpen:
    case KernelEventType.SocketTotals:
    case KernelEventType.SocketClose:
    case KernelEventType.ConnectFailed:
    case KernelEventType.SocketAdopted:
    case KernelEventType.SocketOwner: {
      const event = changetype<SocketEvent>(address);
      if (size !== SOCKET_EVENT_SIZE || !isWellFormed(event)) return false;
      applySocketEvent(event);
      return true;
    }
    case KernelEventType.DropCount: {
      if (size !== DROP_COUNT_SIZE) return false;
      applyDropCount(changetype<DropCount>(address));
      return true;
    }
    case KernelEventType.Listener: {
      if (size !== LISTENER_EVENT_SIZE) return false;
      const event = changetype<ListenerEvent>(address);
      tally(0, TallyKind.AcceptOverflow, event.localPort, 0, event.overflows, 0);
      return true;
    }
    case KernelEventType.DnsMessage: {
      const event = changetype<DnsMessage>(address);
      if (size < DNS_MESSAGE_SIZE || event.copiedBytes > size - DNS_MESSAGE_SIZE || event.isSent > 1) return false;
      applyDnsMessage(event);
      return true;
    }
    default:
      return false;
  }
}

function applySocketEvent(event: SocketEvent): void {
  const type = event.type;
  let row = findSocket(event.cookie, event.startTimeNs);
  if (row === 0 && type === KernelEventType.SocketOwner) {
    // The opening is still to come, or was lost, and names the owner just as well; or the socket is gone.
    ownersUnmatched++;
    return;
  }
  if (row === 0) {
    row = openSocket(event);
    if (row === 0) return;
  } else if (socketAt(row).has(SocketFlag.Closed)) {
    eventsRepeated++;
    return;
  } else {
    amendSocket(row, event);
  }
  const socket = socketAt(row);
  socket.census = currentCensus();
  // Of a connect that failed everything is in its Once.
  if (event.protocol === IPPROTO_TCP && type !== KernelEventType.ConnectFailed) applyHealth(row, socket, event);
  else if (event.protocol === IPPROTO_UDP) applyDatagramDrops(row, socket, event);
  if (type === KernelEventType.SocketClose || type === KernelEventType.ConnectFailed) closeSocket(row, event);
}

/** What the wire has no word for would cost a whole frame. */
function isWellFormed(event: SocketEvent): bool {
  return (
    event.cookie !== 0 &&
    event.role <= Role.Server &&
    event.roleSource <= RoleSource.Kernel &&
    (event.protocol === 6 || event.protocol === 17) &&
    (event.ipVersion === 4 || event.ipVersion === 6)
  );
}

/** A socket is adopted when the kernel's state of it is older than the agent: then there is no start time. */
function openSocket(event: SocketEvent): u32 {
  const row = addSocket(event.cookie);
  if (row === 0) return 0;
  const socket = socketAt(row);
  const type = event.type;
  const isFailed = type === KernelEventType.ConnectFailed;
  if (type === KernelEventType.SocketAdopted || (event.startTimeNs === 0 && !isFailed)) socket.set(SocketFlag.Adopted);
  const isOpening =
    type === KernelEventType.SocketOpen ||
    type === KernelEventType.SocketAdopted ||
    isFailed ||
    (event.flags & EventFlag.Opens) !== 0;
  // The walk tells a flow of datagrams that is over already as nothing but closed.
  if (!isOpening && event.protocol === IPPROTO_TCP) openingsInferred++;

  socket.joinKey = event.joinKey;
  socket.startTimeNs = event.startTimeNs;
  socket.localAddressHi = event.localAddressHi;
  socket.localAddressLo = event.localAddressLo;
  socket.remoteAddressHi = event.remoteAddressHi;
  socket.remoteAddressLo = event.remoteAddressLo;
  socket.localPort = event.localPort;
  socket.remotePort = event.remotePort;
  socket.space = retainSpaceOf(
    event.localAddressHi,
    event.localAddressLo,
    event.remoteAddressHi,
    event.remoteAddressLo,
    event.netns,
  );
  socket.role = event.role;
  socket.roleSource = event.roleSource;
  socket.protocol = event.protocol;
  socket.ipVersion = event.ipVersion;
  takeOwner(socket, event);
  firstTotals(socket.now, event);
  if ((event.flags & EventFlag.MayBeOlder) !== 0) socket.set(SocketFlag.MayBeOlder);
  if (socket.has(SocketFlag.Adopted)) {
    changeTold(socket, AS_NOW);
    setCommitted(socket, AS_NOW);
    beginHealth(socket, event);
  }
  markDirty(row);
  return row;
}

function amendSocket(row: u32, event: SocketEvent): void {
  const socket = socketAt(row);
  const type = event.type;
  if (type === KernelEventType.SocketOpen || type === KernelEventType.SocketAdopted) eventsRepeated++;
  if (type === KernelEventType.SocketOpen) reviseAdoption(socket, event);
  if (socket.joinKey === 0 && event.joinKey !== 0) {
    socket.joinKey = event.joinKey;
    if (socket.has(SocketFlag.OpenTold)) joinKeysLate++;
  }
  if (event.roleSource > socket.roleSource) {
    socket.role = event.role;
    socket.roleSource = event.roleSource;
    amend(row, socket);
  }
  if (amendOwner(socket, event)) amend(row, socket);
  if (raiseTotals(socket, event)) markDirty(row);
}

/** An opening that was seen, after a scan had taken the socket for an old one: it is new, unless it was told as an old one. */
function reviseAdoption(socket: SocketRow, event: SocketEvent): void {
  if (!socket.has(SocketFlag.Adopted) || socket.has(SocketFlag.OpenTold) || event.startTimeNs === 0) return;
  socket.clear(SocketFlag.Adopted);
  socket.startTimeNs = event.startTimeNs;
  changeTold(socket, retainVersion(NOTHING));
  setCommitted(socket, retainVersion(NOTHING));
}

/** True when the owner is another one. */
function amendOwner(socket: SocketRow, event: SocketEvent): bool {
  if (event.ownerPid === 0) return false;
  const isBetter =
    event.type === KernelEventType.SocketOwner || socket.process === 0 || socket.has(SocketFlag.OwnerProvisional);
  if (!isBetter) return false;
  const before = socket.process;
  takeOwner(socket, event);
  releaseProcess(before);
  return socket.process !== before;
}

function takeOwner(socket: SocketRow, event: SocketEvent): void {
  socket.process = retainOwner(event);
  if ((event.flags & EventFlag.OwnerProvisional) !== 0) socket.set(SocketFlag.OwnerProvisional);
  else socket.clear(SocketFlag.OwnerProvisional);
}

/** The Open is told again, with the better knowledge. */
function amend(row: u32, socket: SocketRow): void {
  if (!socket.has(SocketFlag.OpenTold)) return;
  socket.set(SocketFlag.AmendDue);
  markDirty(row);
  amendments++;
}

function closeSocket(row: u32, event: SocketEvent): void {
  const socket = socketAt(row);
  const isFailed = event.type === KernelEventType.ConnectFailed;
  if (isFailed) socket.set(SocketFlag.Failed);
  socket.error = event.error;
  socket.phase = event.phase <= ConnectionPhase.Close ? event.phase : ConnectionPhase.None;
  endSocket(row, socket, closeReasonOf(event, isFailed), event.timeNs);
}

/** Failures have reasons of their own: another one is a bug of the probe, not a reason to lose the socket. */
function closeReasonOf(event: SocketEvent, isFailed: bool): u8 {
  const reason = event.closeReason;
  if (isFailed)
    return reason >= CloseReason.ConnectRefused && reason <= CloseReason.ConnectOther
      ? reason
      : CloseReason.ConnectOther;
  return reason !== CloseReason.None && reason <= CloseReason.TimedOut ? reason : CloseReason.Closed;
}

function firstTotals(now: Totals, event: SocketEvent): void {
  now.bytesSent = event.bytesSent;
  now.bytesReceived = event.bytesReceived;
  now.segmentsSent = event.segmentsSent;
  now.segmentsReceived = event.segmentsReceived;
  now.retransmits = event.retransmits;
  now.srttUs = event.srttUs;
  now.minRttUs = event.minRttUs;
}

/** True when something moved that is worth telling. */
function raiseTotals(socket: SocketRow, event: SocketEvent): bool {
  const now = socket.now;
  const segmentsSent = widen(now.segmentsSent, event.segmentsSent);
  const segmentsReceived = widen(now.segmentsReceived, event.segmentsReceived);
  const retransmits = widen(now.retransmits, event.retransmits);
  const isMinLess = event.minRttUs !== 0 && (now.minRttUs === 0 || event.minRttUs < now.minRttUs);
  if (event.bytesSent < now.bytesSent || event.bytesReceived < now.bytesReceived) eventsStale++;
  const hasMoved =
    event.bytesSent > now.bytesSent ||
    event.bytesReceived > now.bytesReceived ||
    segmentsSent !== now.segmentsSent ||
    segmentsReceived !== now.segmentsReceived ||
    retransmits !== now.retransmits ||
    isMinLess;
  if (!hasMoved && (event.srttUs === 0 || event.srttUs === now.srttUs)) return false;
  keepNow(socket);
  now.bytesSent = max(now.bytesSent, event.bytesSent);
  now.bytesReceived = max(now.bytesReceived, event.bytesReceived);
  now.segmentsSent = segmentsSent;
  now.segmentsReceived = segmentsReceived;
  now.retransmits = retransmits;
  if (event.srttUs !== 0) now.srttUs = event.srttUs;
  if (isMinLess) now.minRttUs = event.minRttUs;
  return hasMoved;
}

/** The kernel's counter is the lower half of the total. A value from behind (a scan that crossed the ring) changes nothing. */
function widen(total: u64, counter: u32): u64 {
  const moved = counter - <u32>total;
  return moved < 0x8000_0000 ? total + moved : total;
}
