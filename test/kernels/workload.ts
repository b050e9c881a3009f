// Runs in the guest: real sockets under the real collector. What is counted is compared, on the host, with what was done here and
// with the guest's own /proc/net/snmp.
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CollectorOptions, CollectorStats, HookStatus } from '../../bpf/addon/index.ts';
import { Observer } from '../../bpf/programs/testing/observer.ts';
import { calls } from '../../bpf/programs/testing/peer.ts';
import { CloseReason, KernelEventType, Role, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';

/** One number that was expected, and one that the collector told. */
export interface Count {
  name: string;
  expected: number;
  told: number;
  /** The hook without which there is nothing to tell. */
  hook: string;
}

export interface Answer {
  kernel: string;
  object: string;
  /** Seconds since the guest's boot. */
  uptime: number;
  hooks: HookStatus[];
  counts: Count[];
  /** Events that found the ring full. */
  losses: Partial<CollectorStats['eventsLost']>;
  /** Why there are no counts. */
  error?: string;
}

const OLD = 3;
const ORDINARY = 20;
const RESETS = 5;
const REFUSALS = 5;
const REQUEST_BYTES = 1_000;
const ANSWER_BYTES = 30_000;
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
  const before = await calls.counts(client);
  const beforeServer = await calls.counts(server);
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

/** The guest's own count of Tcp events. */
function readSnmp(name: string): number {
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('Tcp: '))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf(name)]);
}

const SNMP = ['ActiveOpens', 'PassiveOpens', 'AttemptFails'];
const sum = (events: SocketEvent[], value: (event: SocketEvent) => bigint): number =>
  Number(events.reduce((total, event) => total + value(event), 0n));

async function observe(wanted: CollectorOptions['object']): Promise<Answer> {
  const answer: Answer = {
    kernel: release(),
    object: '',
    uptime: Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]),
    hooks: [],
    counts: [],
    losses: {},
  };
  const ports = {
    old: await calls.listen({ host: '127.0.0.1' }),
    ip4: await calls.listen({ host: '127.0.0.1' }),
    ip6: await calls.listen({ host: '::1' }),
  };
  const old: Pair[] = [];
  for (let i = 0; i < OLD; i++) old.push(await open('127.0.0.1', ports.old));
  for (const pair of old) await exchange(pair);

  const observer = new Observer({ object: wanted }, { mayLackHooks: true });
  answer.hooks = observer.hooks;
  answer.object = observer.collector.stats().object;
  const before = SNMP.map(readSnmp);
  const adopted = [...observer.walk('owners'), ...observer.walk('adopt')];

  for (let i = 0; i < ORDINARY; i++) {
    const [host, port] = i % 2 === 0 ? ['127.0.0.1', ports.ip4] : ['::1', ports.ip6];
    const pair = await open(host, port);
    await exchange(pair);
    if (i % 4 < 2) await closeInOrder(pair.client, pair.server);
    else await closeInOrder(pair.server, pair.client);
  }
  for (let i = 0; i < RESETS; i++) {
    const pair = await open('127.0.0.1', ports.ip4);
    await exchange(pair);
    await calls.reset(pair.client);
    await calls.untilClosed(pair.server);
  }
  for (let i = 0; i < REFUSALS; i++) await calls.connectError({ host: '127.0.0.1', port: 1 });
  for (const pair of old) await exchange(pair);
  const totals = observer.walk('totals');
  const live = observer.walk('live');
  const [activeOpens, passiveOpens, attemptFails] = SNMP.map((name, index) => readSnmp(name) - before[index]);

  const events = await drainUntilClosed(observer, 2 * (ORDINARY + RESETS));
  const ofType = (type: number): SocketEvent[] => events.filter((event) => event.type === type);
  const opens = ofType(KernelEventType.SocketOpen);
  const closes = ofType(KernelEventType.SocketClose);
  const closed = (reason: number, role: number): number =>
    closes.filter((event) => event.closeReason === reason && event.role === role).length;
  const isOld = ({ localPort, remotePort }: SocketEvent): boolean =>
    localPort === ports.old || remotePort === ports.old;
  const finished = ORDINARY + RESETS;
  const count = (hook: string, name: string, told: number, expected: number): void => {
    answer.counts.push({ hook, name, told, expected });
  };
  count(
    'tcp_state',
    'opened, client (ActiveOpens - AttemptFails)',
    opens.filter(({ role }) => role === Role.Client).length,
    activeOpens - attemptFails,
  );
  count(
    'tcp_state',
    'opened, server (PassiveOpens)',
    opens.filter(({ role }) => role === Role.Server).length,
    passiveOpens,
  );
  count(
    'tcp_state',
    'refused (AttemptFails)',
    ofType(KernelEventType.ConnectFailed).filter(({ closeReason }) => closeReason === CloseReason.ConnectRefused)
      .length,
    attemptFails,
  );
  count(
    'tcp_state',
    'closed',
    closes.filter(({ closeReason }) => closeReason === CloseReason.Closed).length,
    2 * ORDINARY,
  );
  count('tcp_state', 'reset by this end', closed(CloseReason.ResetSent, Role.Client), RESETS);
  count('tcp_state', 'reset by the peer', closed(CloseReason.ResetReceived, Role.Server), RESETS);
  count(
    'tcp_state',
    'bytes sent',
    sum(closes, ({ bytesSent }) => bytesSent),
    finished * (REQUEST_BYTES + ANSWER_BYTES),
  );
  count(
    'tcp_state',
    'bytes received',
    sum(closes, ({ bytesReceived }) => bytesReceived),
    finished * (REQUEST_BYTES + ANSWER_BYTES),
  );
  count('tcp_state', 'join keys, each of two ends', new Set(closes.map(({ joinKey }) => joinKey)).size, finished);
  count(
    'socket_send',
    'owner known at close',
    closes.filter(({ ownerPid }) => ownerPid === process.pid).length,
    closes.length,
  );
  count(
    'adopt_namespace',
    'adopted',
    adopted.filter((event) => isOld(event) && event.type === KernelEventType.SocketAdopted).length,
    2 * OLD,
  );
  count(
    'owners',
    'adopted with owner',
    adopted.filter((event) => isOld(event) && event.ownerPid === process.pid).length,
    2 * OLD,
  );
  count(
    'totals',
    'bytes of old connections',
    sum(totals.filter(isOld), ({ bytesSent }) => bytesSent),
    2 * OLD * (REQUEST_BYTES + ANSWER_BYTES),
  );
  count('live', 'alive', live.filter(isOld).length, 2 * OLD);
  answer.losses = observer.collector.stats().eventsLost;
  observer.close();
  return answer;
}

/** The last state changes come from softirqs, after the calls of this process have returned. What does not come shows in the counts. */
async function drainUntilClosed(observer: Observer, closes: number): Promise<SocketEvent[]> {
  const deadline = performance.now() + PATIENCE_MS;
  const isClose = ({ type }: SocketEvent): boolean => type === KernelEventType.SocketClose;
  while (observer.drain().filter(isClose).length < closes && performance.now() < deadline) await sleep(20);
  return observer.events;
}

// By itself the collector takes the best object that loads here; where that is the first, the second is tried as well.
for (const wanted of [undefined, 'kprobe'] as const) {
  const answer = await observe(wanted).catch((error: Error) => ({
    kernel: release(),
    object: wanted,
    error: error.stack,
  }));
  console.log(`@@${JSON.stringify(answer)}`);
  if (answer.object !== 'btf') break;
}
process.exit(0);
