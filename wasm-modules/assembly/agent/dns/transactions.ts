// Queries that wait for their answer, oldest first. An answer belongs to the query that the same socket sent, or received, with the same id
// and the same question, and takes away that one only. A query without an answer for QUERY_WAIT_NS, or whose socket was closed, timed out.
import { hashPair, stableHashBytes } from '../../lib/hash';
import { OpenTable } from '../../lib/open-table';
import { RowPool } from '../../lib/row-pool';
import { releaseLabel, retainLabel } from '../labels';
import { DNS_QUERIES_MAX, DNS_QUERY_WAIT_NS } from '../limits';
import { id, recordType } from './message';
import { nameText, nameTextBytes } from './name';

@unmanaged
export class Query {
  next: u32; // 0
  previous: u32; // 4
  cookie: u64; // 8
  timeNs: u64; // 16
  /** Of the question's name. */
  name: u64; // 24
  id: u16; // 32
  recordType: u16; // 34
  /** 1 = this host asked. */
  isSent: u8; // 36
  pad0: u8; // 37
  pad1: u16; // 38
  /** Of its name (labels.ts); 0 = names are not told. */
  label: u32; // 40
  pad2: u32; // 44
}

if (offsetof<Query>() !== 48) ERROR('Query has 48 bytes');

let byQuestion: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
let oldest: u32 = 0;
let newest: u32 = 0;
/** Queries beyond the limit: their answers are not known as such. */
export let queriesRefused: u64 = 0;
/** Queries of which nobody knows whether they were answered. */
export let queriesForgotten: u64 = 0;

export function initTransactions(): void {
  byQuestion = OpenTable.create(DNS_QUERIES_MAX);
  rows = RowPool.create(offsetof<Query>(), DNS_QUERIES_MAX);
}

export function queryCount(): u32 {
  return rows.live;
}

export function queryAt(row: u32): Query {
  return changetype<Query>(rows.at(row));
}

/** The oldest query; 0 = none. Those behind it follow by `next`. */
export function oldestQuery(): u32 {
  return oldest;
}

export function hasTimedOut(query: Query, timeNs: u64): bool {
  return timeNs > query.timeNs + DNS_QUERY_WAIT_NS;
}

/** The query of the message that was read last (message.ts); 0 = none. `isSent`: of the query. */
export function findQuery(cookie: u64, isSent: u8): u32 {
  const name = stableHashBytes(nameText, nameTextBytes);
  const tag = tagOf(cookie, name, id, recordType, isSent);
  for (let row = byQuestion.first(tag); row !== 0; row = byQuestion.next()) {
    const query = queryAt(row);
    const isSame = query.cookie === cookie && query.name === name && query.id === id;
    if (isSame && query.recordType === recordType && query.isSent === isSent) return row;
  }
  return 0;
}

/** Keeps the query that was read last. */
export function addQuery(cookie: u64, isSent: u8, timeNs: u64, label: u32): void {
  const row = rows.take();
  if (row === 0) {
    queriesRefused++;
    return;
  }
  const query = queryAt(row);
  query.cookie = cookie;
  query.timeNs = timeNs;
  query.name = stableHashBytes(nameText, nameTextBytes);
  query.id = id;
  query.recordType = recordType;
  query.isSent = isSent;
  query.label = label;
  if (!byQuestion.insert(tagOfQuery(query), row)) {
    rows.give(row);
    queriesRefused++;
    return;
  }
  retainLabel(label);
  query.next = 0;
  query.previous = newest;
  if (newest === 0) oldest = row;
  else queryAt(newest).next = row;
  newest = row;
}

export function removeQuery(row: u32): void {
  const query = queryAt(row);
  byQuestion.remove(tagOfQuery(query), row);
  releaseLabel(query.label);
  if (query.previous === 0) oldest = query.next;
  else queryAt(query.previous).next = query.next;
  if (query.next === 0) newest = query.previous;
  else queryAt(query.next).previous = query.previous;
  rows.give(row);
}

/** Answers may have been missed: no query is called a timeout for that. */
export function forgetQueries(): void {
  queriesForgotten += rows.live;
  while (oldest !== 0) removeQuery(oldest);
}

function tagOfQuery(query: Query): u32 {
  return tagOf(query.cookie, query.name, query.id, query.recordType, query.isSent);
}

function tagOf(cookie: u64, name: u64, id: u16, recordType: u16, isSent: u8): u32 {
  return hashPair(cookie ^ name, ((<u64>id) << 32) | ((<u64>recordType) << 8) | isSent);
}
