// DNS messages as the kernel hands them over.
import {
  DNS_MESSAGE_SIZE,
  type DnsMessage,
  KernelEventType,
  writeDnsMessage,
} from '../../wire/gen/kernel-events-layout.ts';
import { ipv4 } from './kernel-event.ts';

export interface DnsOptions {
  id?: number;
  name?: string;
  recordType?: number;
  isAnswer?: boolean;
  isTruncated?: boolean;
  responseCode?: number;
  /** Behind the question. */
  restBytes?: number;
}

export function encodeMessage({
  id = 1,
  name = 'www.example.org',
  recordType = 1,
  isAnswer = false,
  isTruncated = false,
  responseCode = 0,
  restBytes = 0,
}: DnsOptions): Uint8Array {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  const flags = [isAnswer ? 0x80 | (isTruncated ? 2 : 0) : 1, responseCode];
  const head = [id >> 8, id & 255, ...flags, 0, 1, 0, 0, 0, 0, 0, 0];
  return Uint8Array.from([...head, ...labels, 0, 0, recordType, 0, 1, ...new Uint8Array(restBytes)]);
}

/** A message in a record with as much room as it needs. */
export function encodeDnsEvent(event: Partial<DnsMessage>, message: Uint8Array): Uint8Array {
  const size = (DNS_MESSAGE_SIZE + message.length + 7) & ~7;
  const bytes = new Uint8Array(size);
  writeDnsMessage(new DataView(bytes.buffer), 0, {
    type: KernelEventType.DnsMessage,
    size,
    cpu: 0,
    timeNs: 1_000n,
    cookie: 1n,
    netns: 1,
    localPort: 40_000,
    remotePort: 53,
    protocol: 17,
    ipVersion: 4,
    isSent: 1,
    messageBytes: message.length,
    copiedBytes: message.length,
    localAddress: ipv4(10, 0, 0, 1),
    remoteAddress: ipv4(10, 0, 0, 53),
    ...event,
  });
  bytes.set(message, DNS_MESSAGE_SIZE);
  return bytes;
}
