// Connections that are older than the collector, ordinary ones, resets and refusals, over loopback.
import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Observer } from '../../bpf/programs/testing/observer.ts';
import { calls } from '../../bpf/programs/testing/peer.ts';
import { CloseReason, KernelEventType, Role, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import type { Count } from './answer.ts';
import { watchSnmp } from './snmp.ts';

const OLD = 3;
const ORDINARY = 20;
const RESETS = 5;
const REFUSALS = 5;
const REQUEST_BYTES = 1_000;
const ANSWER_BYTES = 30_000;
/** Of an exchange, on both ends together. */
const EXCHANGE_BYTES = REQUEST_BYTES + ANSWER_BYTES;
const IPPROTO_TCP = 6;
const PATIENCE_MS = 30_000;

interface Pair {
  client: number;
  server: number;
}

async function open(host: string, port: number): Promise<Pair> {
  const client = await calls.connect({ host, port });
  return { client, server: await calls.accept() };
}

async function exchange({ client, server }: Pair): Promise<void> {
  const [before, beforeServer] = [await calls.counts(client), await calls.counts(server)];
  await calls.send(client, REQUEST_BYTES);
  await calls.receive(server, beforeServer.received + REQUEST_BYTES);
  await calls.send(server, ANSWER_BYTES);
  await calls.receive(client, before.received + ANSWER_BYTES);
}

/** The end `first` closes first, the other when it has read that. */
async function closeInOrder(first: number, second: number): Promise<void> {
  await calls.end(first);
  await calls.untilEnded(second);
  await calls.end(second);
  await calls.untilClosed(first);
  await calls.untilClosed(second);
}

async function connectOrdinarily(ports: { ip4: number; ip6: number }): Promise<void> {
  for (let i = 0; i < ORDINARY; i++) {
    const pair = i % 2 === 0 ? await open('127.0.0.1', ports.ip4) : await open('::1', ports.ip6);
    await exchange(pair);
    if (i % 4 < 2) await closeInOrder(pair.client, pair.server);
    else await closeInOrder(pair.server, pair.client);
  }
}

async function reset(port: number): Promise<void> {
  for (let i = 0; i < RESETS; i++) {
    const pair = await open('127.0.0.1', port);
    await exchange(pair);
    await calls.reset(pair.client);
    await calls.untilClosed(pair.server);
  }
}

/** The last state changes come from softirqs, after the calls of this process have returned. What does not come shows in the counts. */
async function drainUntilClosed(observer: Observer, count: number): Promise<SocketEvent[]> {
  const deadline = performance.now() + PATIENCE_MS;
  const isClose = ({ type }: SocketEvent): boolean => type === KernelEventType.SocketClose;
  while (observer.drain().filter(isClose).length < count && performance.now() < deadline) await sleep(20);
  return observer.events.filter(({ protocol }) => protocol === IPPROTO_TCP);
}

/** Opens what is older than the collector; the rest happens under `observer`. */
export async function beginTcp(): Promise<(observer: Observer) => Promise<Count[]>> {
  const [oldPort, ip4, ip6] = [
    await calls.listen({ host: '127.0.0.1' }),
    await calls.listen({ host: '127.0.0.1' }),
    await calls.listen({ host: '::1' }),
  ];
  const old: Pair[] = [];
  for (let i = 0; i < OLD; i++) old.push(await open('127.0.0.1', oldPort));
  for (const pair of old) await exchange(pair);

  return async (observer) => {
    const [active, passive, failed] = ['ActiveOpens', 'PassiveOpens', 'AttemptFails'].map((name) =>
      watchSnmp('Tcp', name),
    );
    const adopted = [...observer.walk('owners'), ...observer.walk('adopt')];
    await connectOrdinarily({ ip4, ip6 });
    await reset(ip4);
    for (let i = 0; i < REFUSALS; i++) await calls.connectError({ host: '127.0.0.1', port: 1 });
    for (const pair of old) await exchange(pair);
    const [totals, live] = [observer.walk('totals'), observer.walk('live')];
    const snmp = { active: active(), passive: passive(), failed: failed() };
    const events = await drainUntilClosed(observer, 2 * (ORDINARY + RESETS));
    const isOld = ({ localPort, remotePort }: SocketEvent): boolean => localPort === oldPort || remotePort === oldPort;
    return [
      ...countEvents(events, snmp),
      countExecutables(observer, events),
      ...countWalks({ adopted: adopted.filter(isOld), totals: totals.filter(isOld), live: live.filter(isOld) }),
    ];
  };
}

interface Snmp {
  active: number;
  passive: number;
  failed: number;
}

function countEvents(events: SocketEvent[], { active, passive, failed }: Snmp): Count[] {
  const ofType = (type: number): SocketEvent[] => events.filter((event) => event.type === type);
  const [opens, closes] = [ofType(KernelEventType.SocketOpen), ofType(KernelEventType.SocketClose)];
  const refused = ofType(KernelEventType.ConnectFailed).filter(
    ({ closeReason }) => closeReason === CloseReason.ConnectRefused,
  );
  const opened = (role: number): number => opens.filter((event) => event.role === role).length;
  const closed = (reason: number, role: number): number =>
    closes.filter((event) => event.closeReason === reason && event.role === role).length;
  const bytes = (ORDINARY + RESETS) * EXCHANGE_BYTES;
  const numbers: [name: string, told: number, expected: number][] = [
    ['opened, client (ActiveOpens - AttemptFails)', opened(Role.Client), active - failed],
    ['opened, server (PassiveOpens)', opened(Role.Server), passive],
    ['refused (AttemptFails)', refused.length, failed],
    ['closed, client', closed(CloseReason.Closed, Role.Client), ORDINARY],
    ['closed, server', closed(CloseReason.Closed, Role.Server), ORDINARY],
    ['reset by this end', closed(CloseReason.ResetSent, Role.Client), RESETS],
    ['reset by the peer', closed(CloseReason.ResetReceived, Role.Server), RESETS],
    ['bytes sent', sumBytes(closes, 'bytesSent'), bytes],
    ['bytes received', sumBytes(closes, 'bytesReceived'), bytes],
    ['join keys, each of two ends', new Set(closes.map(({ joinKey }) => joinKey)).size, ORDINARY + RESETS],
    ['cookies, one an end', new Set(closes.map(({ cookie }) => cookie)).size, 2 * (ORDINARY + RESETS)],
    ['ends with their owner', closes.filter(isOurs).length, 2 * (ORDINARY + RESETS)],
  ];
  return numbers.map(([name, told, expected]) => ({ name, hooks: ['tcp_state'], told, expected }));
}

/** The owner runs still, so /proc says what is right. */
function countExecutables({ collector }: Observer, events: SocketEvent[]): Count {
  const executable = basename(readlinkSync('/proc/self/exe'));
  const owned = events.filter(
    ({ type, ownerPid, ownerStartTimeNs }) =>
      type === KernelEventType.SocketClose && collector.executableOf(ownerPid, ownerStartTimeNs) === executable,
  );
  const name = 'ends with the executable of their owner';
  return { name, hooks: ['tcp_state'], told: owned.length, expected: 2 * (ORDINARY + RESETS) };
}

interface Walks {
  adopted: SocketEvent[];
  totals: SocketEvent[];
  live: SocketEvent[];
}

function countWalks({ adopted, totals, live }: Walks): Count[] {
  const told = adopted.filter(({ type }) => type === KernelEventType.SocketAdopted).length;
  return [
    { name: 'adopted ends', hooks: ['adopt_namespace'], told, expected: 2 * OLD },
    {
      name: 'adopted ends with their owner',
      hooks: ['adopt_namespace', 'owners'],
      told: adopted.filter(isOurs).length,
      expected: 2 * OLD,
    },
    {
      name: 'bytes sent by adopted ends',
      hooks: ['adopt_namespace', 'totals'],
      told: sumBytes(totals, 'bytesSent'),
      expected: OLD * 2 * EXCHANGE_BYTES,
    },
    { name: 'adopted ends that live', hooks: ['adopt_namespace', 'live'], told: live.length, expected: 2 * OLD },
  ];
}

function isOurs({ ownerPid }: SocketEvent): boolean {
  return ownerPid === process.pid;
}

function sumBytes(events: SocketEvent[], field: 'bytesSent' | 'bytesReceived'): number {
  return Number(events.reduce((sum, event) => sum + event[field], 0n));
}
