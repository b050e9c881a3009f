import {
  KernelEventType,
  Role,
  RoleSource,
  SOCKET_EVENT_SIZE,
  type SocketEvent,
  writeSocketEvent,
} from '../../wire/gen/kernel-events-layout.ts';

/** 16 bytes of an IPv4 address. */
export function ipv4(...bytes: [number, number, number, number]): Uint8Array {
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes);
}

/** A client's connection to 10.0.0.2:80, unless told otherwise. */
const PLAIN: SocketEvent = {
  type: KernelEventType.SocketOpen,
  size: SOCKET_EVENT_SIZE,
  cpu: 0,
  timeNs: 2_000n,
  cookie: 1n,
  joinKey: 0n,
  startTimeNs: 1_000n,
  ownerStartTimeNs: 500n,
  cgroupId: 1n,
  bytesSent: 0n,
  bytesReceived: 0n,
  segmentsSent: 0,
  segmentsReceived: 0,
  retransmits: 0,
  srttUs: 0,
  minRttUs: 0,
  netns: 1,
  ownerPid: 100,
  ownerUid: 0,
  error: 0,
  localPort: 40_000,
  remotePort: 80,
  role: Role.Client,
  roleSource: RoleSource.Kernel,
  closeReason: 0,
  protocol: 6,
  ipVersion: 4,
  flags: 0,
  phase: 0,
  localAddress: ipv4(10, 0, 0, 1),
  remoteAddress: ipv4(10, 0, 0, 2),
  ownerComm: Buffer.from('program\0\0\0\0\0\0\0\0\0'),
  retransmitsFast: 0,
  retransmitsTimeout: 0,
  retransmitsSyn: 0,
  retransmitsProbe: 0,
  outOfOrder: 0,
  zeroWindows: 0,
  handshakeUs: 0,
  rttVariationUs: 0,
};

/** Events back to back, as the ring hands them over. The join key follows the cookie. */
export function encodeEvents(...events: Partial<SocketEvent>[]): Uint8Array {
  const bytes = new Uint8Array(events.length * SOCKET_EVENT_SIZE);
  const view = new DataView(bytes.buffer);
  for (const [index, event] of events.entries()) {
    const joinKey = (event.cookie ?? PLAIN.cookie) * 0x9e37_79b9n;
    writeSocketEvent(view, index * SOCKET_EVENT_SIZE, { ...PLAIN, joinKey, ...event });
  }
  return bytes;
}
