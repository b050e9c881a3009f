// Datagrams that are answered, datagrams for nobody, and DNS messages, over loopback.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { readKernelEnum } from '../../bpf/addon/index.ts';
import type { Observer, OtherEvent } from '../../bpf/programs/testing/observer.ts';
import { KernelEventType, readDropCount } from '../../host/wire/gen/kernel-events-layout.ts';
import type { Count } from './answer.ts';
import { watchSnmp } from './snmp.ts';

const EXCHANGES = 40;
const REQUEST_BYTES = 100;
const ANSWER_BYTES = 1_000;
const FOR_NOBODY = 10;
const LOOKUPS = 8;
const DNS_PORT = 53;
/** Where nobody listens. */
const DEAD_PORT = 9;
const IPPROTO_UDP = 17;
const PATIENCE_MS = 30_000;

async function bind(port: number): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

async function ask(client: Socket, port: number, request: Buffer): Promise<void> {
  const answered = once(client, 'message');
  client.send(request, port, '127.0.0.1');
  await answered;
}

/** A query for `a.test` (RFC 1035, section 4.1), which its server sends back as it is. */
function dnsQuery(id: number): Buffer {
  const query = Buffer.from('0000010000010000000000000161047465737400' + '00010001', 'hex');
  query.writeUInt16BE(id);
  return query;
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!condition() && performance.now() < deadline) await sleep(20);
}

/** Datagrams of loopback are delivered before send returns, but Node sends after the call. */
async function sendToNobody(sender: Socket): Promise<number> {
  const unwanted = watchSnmp('Udp', 'NoPorts');
  for (let i = 0; i < FOR_NOBODY; i++) sender.send(Buffer.alloc(REQUEST_BYTES), DEAD_PORT, '127.0.0.1');
  await until(() => unwanted() >= FOR_NOBODY);
  return unwanted();
}

export async function observeDatagrams(observer: Observer): Promise<Count[]> {
  const [server, dnsServer, client] = [await bind(0), await bind(DNS_PORT), await bind(0)];
  server.on('message', (_, { port, address }) => server.send(Buffer.alloc(ANSWER_BYTES), port, address));
  dnsServer.on('message', (message, { port, address }) => dnsServer.send(message, port, address));
  // The drops so far are another's.
  observer.walk('drops');
  observer.others.splice(0);

  const [sent, delivered] = [watchSnmp('Udp', 'OutDatagrams'), watchSnmp('Udp', 'InDatagrams')];
  for (let i = 0; i < EXCHANGES; i++) await ask(client, server.address().port, Buffer.alloc(REQUEST_BYTES));
  for (let i = 0; i < LOOKUPS; i++) await ask(client, DNS_PORT, dnsQuery(i));
  const unwanted = await sendToNobody(client);

  const flows = observer.walk('totals').filter(({ protocol }) => protocol === IPPROTO_UDP);
  observer.walk('drops');
  observer.drain();
  for (const socket of [server, dnsServer, client]) socket.close();
  const packets = (field: 'segmentsSent' | 'segmentsReceived'): number =>
    flows.reduce((sum, flow) => sum + flow[field], 0);
  const bytes = (field: 'bytesSent' | 'bytesReceived'): number =>
    Number(flows.reduce((sum, flow) => sum + flow[field], 0n));
  const exchanged = EXCHANGES * (REQUEST_BYTES + ANSWER_BYTES) + LOOKUPS * 2 * dnsQuery(0).length;
  const messages = observer.others.filter(({ type }) => type === KernelEventType.DnsMessage).length;
  const both = ['datagram_sent', 'datagram_arrived', 'datagram_totals'];
  return [
    { name: 'datagrams sent (OutDatagrams)', hooks: both, told: packets('segmentsSent'), expected: sent() },
    {
      name: 'datagrams delivered (InDatagrams)',
      hooks: both,
      told: packets('segmentsReceived'),
      expected: delivered(),
    },
    {
      name: 'bytes of datagrams sent',
      hooks: both,
      told: bytes('bytesSent'),
      expected: exchanged + FOR_NOBODY * REQUEST_BYTES,
    },
    { name: 'bytes of datagrams received', hooks: both, told: bytes('bytesReceived'), expected: exchanged },
    // Each of a query and its answer is seen where it is sent and where it arrives.
    { name: 'DNS messages', hooks: ['dns_sent', 'dns_arrived'], told: messages, expected: LOOKUPS * 4 },
    {
      name: 'drops without a socket (NoPorts)',
      hooks: ['drop', 'drops'],
      told: countDrops(observer.others, 'SKB_DROP_REASON_NO_SOCKET'),
      expected: unwanted,
    },
  ];
}

/** For one reason of the running kernel. */
function countDrops(events: OtherEvent[], reason: string): number {
  const number = readKernelEnum('skb_drop_reason')[reason];
  return events
    .filter(({ type }) => type === KernelEventType.DropCount)
    .map(({ bytes }) => readDropCount(new DataView(bytes.buffer, bytes.byteOffset), 0))
    .filter((drop) => drop.reason === number)
    .reduce((sum, { count }) => sum + Number(count), 0);
}
