// What the DNS messages of this host's sockets say (bpf/programs/dns.h): how long answers took, and which did not come, at the end that
// asked and at the end that answered. They are tallies of the socket.
import { DNS_MESSAGE_SIZE, DnsMessage } from '../../gen/kernel-events';
import { TallyKind } from '../../gen/wire';
import { labelOfText } from '../labels';
import { SocketFlag } from '../socket-row';
import { socketAt } from '../sockets';
import { tallyOwner } from '../tally-owner';
import { tallySocket } from '../waiting-tallies';
import { expireDnsAddresses, initDnsAddresses } from './addresses';
import { initAnswers, nameAnswers } from './answers';
import { initMessages, isAnswer, isTruncated, readMessage, recordType, responseCode } from './message';
import { nameText, nameTextBytes } from './name';
import {
  addQuery,
  findQuery,
  hasTimedOut,
  initTransactions,
  oldestQuery,
  Query,
  queryAt,
  removeQuery,
} from './transactions';

let tellsNames: bool = false;

export let dnsMessages: u64 = 0;
/** Of port 53, and not an ordinary query or answer. */
export let dnsMalformed: u64 = 0;
/** Answers to no query that is known. */
export let dnsUnasked: u64 = 0;

export function initDns(): void {
  initMessages();
  initTransactions();
  initAnswers();
  initDnsAddresses();
}

/** Lookups are told apart by the names that were asked for, and addresses that answers give have them. */
export function tellDnsNames(): void {
  tellsNames = true;
}

export function applyDnsMessage(event: DnsMessage): void {
  dnsMessages++;
  const message = changetype<usize>(event) + DNS_MESSAGE_SIZE;
  if (!readMessage(message, event.copiedBytes)) dnsMalformed++;
  else if (isAnswer) applyAnswer(event, message);
  else applyQuery(event);
}

/** Who waits for an answer asks again sooner or later: the first query counts. */
function applyQuery(event: DnsMessage): void {
  if (findQuery(event.cookie, event.isSent) !== 0) return;
  const label = tellsNames ? labelOfText(nameText, nameTextBytes) : 0;
  addQuery(event.cookie, event.isSent, event.timeNs, label);
}

function applyAnswer(event: DnsMessage, message: usize): void {
  const row = findQuery(event.cookie, event.isSent ^ 1);
  if (row === 0) {
    dnsUnasked++;
    return;
  }
  const query = queryAt(row);
  if (hasTimedOut(query, event.timeNs)) {
    timeOut(row, query);
    return;
  }
  const code = codeOf(recordType) | responseCode;
  const label = query.label;
  const latencyNs = event.timeNs > query.timeNs ? event.timeNs - query.timeNs : 0;
  tallySocket(event.cookie, TallyKind.DnsLookup, code, label, 1, latencyNs);
  if (isTruncated) tallySocket(event.cookie, TallyKind.DnsTruncated, code, label, 1, 0);
  else if (label !== 0 && event.isSent === 0 && responseCode === 0)
    nameAnswers(message, event.copiedBytes, label, event.timeNs);
  removeQuery(row);
}

function timeOut(row: u32, query: Query): void {
  tallySocket(query.cookie, TallyKind.DnsTimeout, codeOf(query.recordType), query.label, 1, 0);
  removeQuery(row);
}

function codeOf(recordType: u16): u32 {
  return (<u32>recordType) << 16;
}

/** Everything that the kernel had at `timeNs` is applied (CLOCK_MONOTONIC). */
export function settleDns(timeNs: u64): void {
  for (let row = oldestQuery(); row !== 0; ) {
    const query = queryAt(row);
    const next = query.next;
    const owner = tallyOwner(query.cookie);
    const isClosed = owner !== 0 && socketAt(owner).has(SocketFlag.Closed);
    if (isClosed || hasTimedOut(query, timeNs)) timeOut(row, query);
    row = next;
  }
  expireDnsAddresses(timeNs);
}
