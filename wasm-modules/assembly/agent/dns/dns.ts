// What the DNS messages of this host's sockets say (bpf/programs/dns.h): how long answers took, and which did not come, at the end that
// asked and at the end that answered. They are tallies of the socket. A socket of datagrams is known only with the reading of the totals,
// one that began during it with the next, so what is counted before waits for them.
import { DNS_MESSAGE_SIZE, DnsMessage } from '../../gen/kernel-events';
import { TallyKind } from '../../gen/wire';
import { Fifo } from '../fifo';
import { labelOfText, releaseLabel, retainLabel } from '../labels';
import { DNS_RESULTS_MAX } from '../limits';
import { SocketFlag } from '../socket-row';
import { findSocket, socketAt } from '../sockets';
import { tally } from '../tallies';
import { tallyOwner } from '../tally-owner';
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

@unmanaged
class Result {
  cookie: u64; // 0
  sum: u64; // 8
  code: u32; // 16
  label: u32; // 20
  kind: u16; // 24
  pad0: u16; // 26
  pad1: u32; // 28
}

if (offsetof<Result>() !== 32) ERROR('Result has 32 bytes');

let results: Fifo<Result> = changetype<Fifo<Result>>(0);
/** Of these, the oldest: they have waited for the totals. */
let due: u32 = 0;
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
  results = Fifo.create<Result>();
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
  count(event.cookie, TallyKind.DnsLookup, code, label, latencyNs);
  if (isTruncated) count(event.cookie, TallyKind.DnsTruncated, code, label, 0);
  else if (label !== 0 && event.isSent === 0 && responseCode === 0)
    nameAnswers(message, event.copiedBytes, label, event.timeNs);
  removeQuery(row);
}

function timeOut(row: u32, query: Query): void {
  count(query.cookie, TallyKind.DnsTimeout, codeOf(query.recordType), query.label, 0);
  removeQuery(row);
}

function codeOf(recordType: u16): u32 {
  return (<u32>recordType) << 16;
}

function count(cookie: u64, kind: u16, code: u32, label: u32, sum: u64): void {
  const isUnknown = cookie !== 0 && findSocket(cookie, 0) === 0;
  if (!isUnknown || results.count >= DNS_RESULTS_MAX) {
    tally(tallyOwner(cookie), kind, code, label, 1, sum);
    return;
  }
  const result = results.push();
  result.cookie = cookie;
  result.kind = kind;
  result.code = code;
  result.label = label;
  retainLabel(label);
  result.sum = sum;
}

/** Everything that the kernel had at `timeNs` is applied (CLOCK_MONOTONIC). What no socket is known of the second time counts for the host. */
export function settleDns(timeNs: u64): void {
  for (let row = oldestQuery(); row !== 0; ) {
    const query = queryAt(row);
    const next = query.next;
    const owner = tallyOwner(query.cookie);
    const isClosed = owner !== 0 && socketAt(owner).has(SocketFlag.Closed);
    if (isClosed || hasTimedOut(query, timeNs)) timeOut(row, query);
    row = next;
  }
  settleResults();
  expireDnsAddresses(timeNs);
}

/** Who is not known by the second reading of the totals is no socket of ours. */
function settleResults(): void {
  for (let left = results.count; left > 0; left--) {
    const result = results.first();
    const owner = tallyOwner(result.cookie);
    if (owner !== 0 || due > 0) {
      tally(owner, result.kind, result.code, result.label, 1, result.sum);
      releaseLabel(result.label);
    } else {
      memory.copy(changetype<usize>(results.push()), changetype<usize>(result), offsetof<Result>());
    }
    if (due > 0) due--;
    results.shift();
  }
  due = results.count;
}
