// Payloads as an agent makes them, for tests that need to know every byte of the truth.
import type { Payload } from '../../wire/channel-sender.ts';
import { encodeControl } from '../../wire/control.ts';
import { viewOf } from '../../wire/frame.ts';
import {
  BASELINE_SIZE,
  type Baseline,
  CLOSE_SIZE,
  type Close,
  FrameKind,
  ONCE_SIZE,
  type Once,
  OPEN_SIZE,
  type Open,
  TALLY_SIZE,
  type Tally,
  type Totals,
  UPDATE_WIDE_SIZE,
  writeBaseline,
  writeClose,
  writeOnce,
  writeOpen,
  writeTally,
  writeUpdateWide,
} from '../../wire/gen/wire-layout.ts';
import { encodeAnnounce, type Hello } from '../../wire/gen/wire-tables.ts';
import { encodeBatch } from '../../wire/struct-batch.ts';
import { hello as helloWith } from '../../wire/testing/hello.ts';

export const ROLE_CLIENT = 1;
export const ROLE_SERVER = 2;
const ROLE_SOURCE_KERNEL = 4;
const TCP = 6;
const SPACE_HANDLE = 1;

export function addressBytes(ipv4: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([...new Array(10).fill(0), 0xff, 0xff, ...ipv4.split('.').map(Number)]);
}

export function hello(name: string, session: bigint, more: Partial<Hello> = {}): Hello {
  const nodeId = BigInt(`0x${Buffer.from(name).toString('hex')}`);
  return helloWith({ nodeId, bootId: 7n, session, firstWindow: 1, nodeName: name, zone: `zone-${name}`, ...more });
}

/** One process with handle 1, the configured address space with handle 1, then the host's address. */
export function announce(comm: string, ipv4: string): Payload[] {
  const process = {
    ...{ handle: 1, pid: 100, uid: 0, startTimeNs: 1n, comm, executable: `/usr/bin/${comm}` },
    ...{ unit: '', containerId: '', containerRuntime: '', cgroup: '/' },
  };
  const names = encodeAnnounce({ processes: [process], addressSpaces: [{ handle: SPACE_HANDLE, name: 'default' }] });
  const hostAddresses = [{ address: addressBytes(ipv4), addressSpace: SPACE_HANDLE }];
  return [names, encodeAnnounce({ hostAddresses })].map((payload) => ({ kind: FrameKind.Announce, payload }));
}

export function totals(bytesSent: number, bytesReceived: number): Totals {
  return {
    bytesSent: BigInt(bytesSent),
    bytesReceived: BigInt(bytesReceived),
    segmentsSent: BigInt(Math.ceil(bytesSent / 1_000)),
    segmentsReceived: BigInt(Math.ceil(bytesReceived / 1_000)),
    retransmits: 0n,
    srttUs: 150,
    minRttUs: 100,
  };
}

export interface SocketOptions {
  handle: number;
  joinKey: bigint;
  role: number;
  local: string;
  localPort: number;
  remote: string;
  remotePort: number;
}

export function socket({ handle, joinKey, role, local, localPort, remote, remotePort }: SocketOptions): Open {
  return {
    ...{
      handle,
      process: 1,
      joinKey,
      cookie: joinKey * 2n + BigInt(role),
      startTimeNs: 1n,
      addressSpace: SPACE_HANDLE,
      flags: 0,
    },
    ...{ localAddress: addressBytes(local), remoteAddress: addressBytes(remote), localPort, remotePort },
    ...{ role, roleSource: ROLE_SOURCE_KERNEL, protocol: TCP, ipVersion: 4 },
  };
}

function batch<T>(
  kind: number,
  size: number,
  write: (view: DataView, offset: number, value: T) => void,
  values: readonly T[],
): Payload {
  const items = new Uint8Array(size * values.length);
  for (const [index, value] of values.entries()) write(viewOf(items), index * size, value);
  return { kind, payload: encodeBatch(items, size) };
}

export function opens(sockets: readonly Open[]): Payload {
  return batch(FrameKind.Open, OPEN_SIZE, writeOpen, sockets);
}

export function updates(values: readonly { handle: number; totals: Totals }[]): Payload {
  return batch(FrameKind.UpdateWide, UPDATE_WIDE_SIZE, writeUpdateWide, values);
}

export function closes(values: readonly Close[]): Payload {
  return batch(FrameKind.Close, CLOSE_SIZE, writeClose, values);
}

export function onces(values: readonly Once[]): Payload {
  return batch(FrameKind.Once, ONCE_SIZE, writeOnce, values);
}

export function baselines(values: readonly Baseline[]): Payload {
  return batch(FrameKind.Baseline, BASELINE_SIZE, writeBaseline, values);
}

export function snapshotBegin(window: number): Payload {
  return { kind: FrameKind.SnapshotBegin, payload: encodeControl('SnapshotBegin', { window }) };
}

export function snapshotEnd(window: number): Payload {
  return { kind: FrameKind.SnapshotEnd, payload: encodeControl('SnapshotEnd', { window }) };
}

export function windowEnd(window: number, fromWindow = window): Payload {
  const counters = { eventsLost: 0n, socketsFolded: 0n, socketsRefused: 0n, windowsCoalesced: 0n, journalSkipped: 0n };
  const end = { window, fromWindow, agentTimeNs: 0n, ...counters, processesUnnamed: 0n, socketsLive: 0, blindMs: 0 };
  return { kind: FrameKind.WindowEnd, payload: encodeControl('WindowEnd', end) };
}

export function tallies(values: readonly Tally[]): Payload {
  return batch(FrameKind.Tally, TALLY_SIZE, writeTally, values);
}
