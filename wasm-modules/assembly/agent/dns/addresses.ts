// By what names this host asked for addresses. The last answer counts, for as long as it says and within limits: programs keep what they
// looked up for longer than they should, and an answer for a week would keep the row that long. Addresses that mean something in one network
// namespace only have no name here, since whoever asks may be in another one than who connects.
import { NAMED_ADDRESS_SIZE, NamedAddress } from '../../gen/wire';
import { allocate } from '../../lib/arena';
import { hashPair } from '../../lib/hash';
import { OpenTable } from '../../lib/open-table';
import { RowPool } from '../../lib/row-pool';
import { DEFAULT_SPACE, isLocalToNetns } from '../address-spaces';
import { releaseLabel, retainLabel } from '../labels';
import { DNS_ADDRESSES_MAX, DNS_TTL_MAX_NS, DNS_TTL_MIN_NS } from '../limits';

const SECOND_NS: u64 = 1_000_000_000;
/** Told to the host in one call. */
const NEWS_COUNT_MAX: u32 = 1024;

@unmanaged
class AddressRow {
  hi: u64; // 0
  lo: u64; // 8
  expiresNs: u64; // 16
  /** 0 = the name is over, which the reducer must hear, or the row is free. */
  label: u32; // 24
  isNews: u32; // 28
}

if (offsetof<AddressRow>() !== 32) ERROR('AddressRow has 32 bytes');

let byAddress: OpenTable = changetype<OpenTable>(0);
let rows: RowPool = changetype<RowPool>(0);
let news: usize = 0;
let newsCount: u32 = 0;
/** Row from which on there may be news. */
let newsFrom: u32 = u32.MAX_VALUE;
/** Addresses that found no room. */
export let dnsAddressesRefused: u64 = 0;

export function initDnsAddresses(): void {
  byAddress = OpenTable.create(DNS_ADDRESSES_MAX);
  rows = RowPool.create(offsetof<AddressRow>(), DNS_ADDRESSES_MAX);
  news = allocate(NEWS_COUNT_MAX * NAMED_ADDRESS_SIZE);
}

export function dnsAddressCount(): u32 {
  return rows.live;
}

/** `ttl`: seconds from `timeNs` (CLOCK_MONOTONIC) on. */
export function nameAddress(hi: u64, lo: u64, label: u32, ttl: u32, timeNs: u64): void {
  if (label === 0 || isLocalToNetns(hi, lo)) return;
  let found = find(hi, lo);
  if (found === 0) found = add(hi, lo);
  if (found === 0) return;
  const row = rowAt(found);
  row.expiresNs = timeNs + min(max(<u64>ttl * SECOND_NS, DNS_TTL_MIN_NS), DNS_TTL_MAX_NS);
  if (row.label === label) return;
  retainLabel(label);
  releaseLabel(row.label);
  row.label = label;
  noteNews(found);
}

/** Names whose time is over at `timeNs` end. */
export function expireDnsAddresses(timeNs: u64): void {
  if (rows.live === 0) return;
  const end = rows.end;
  for (let index: u32 = 1; index < end; index++) {
    const row = rowAt(index);
    if (row.label === 0 || row.expiresNs >= timeNs) continue;
    releaseLabel(row.label);
    row.label = 0;
    noteNews(index);
  }
}

/** Up to NEWS_COUNT_MAX wire.NamedAddress structs: what has another name than at the last call, or none any more. */
export function takeNamedAddresses(): usize {
  newsCount = 0;
  const end = rows.end;
  for (; newsFrom < end && newsCount < NEWS_COUNT_MAX; newsFrom++) {
    const row = rowAt(newsFrom);
    if (row.isNews === 0) continue;
    row.isNews = 0;
    const told = changetype<NamedAddress>(news + newsCount++ * NAMED_ADDRESS_SIZE);
    told.addressHi = row.hi;
    told.addressLo = row.lo;
    told.addressSpace = DEFAULT_SPACE;
    told.label = row.label;
    if (row.label === 0) remove(newsFrom);
  }
  if (newsFrom >= end) newsFrom = u32.MAX_VALUE;
  return news;
}

export function namedAddressCount(): u32 {
  return newsCount;
}

function noteNews(row: u32): void {
  rowAt(row).isNews = 1;
  newsFrom = min(newsFrom, row);
}

function find(hi: u64, lo: u64): u32 {
  for (let found = byAddress.first(hashPair(hi, lo)); found !== 0; found = byAddress.next()) {
    if (rowAt(found).hi === hi && rowAt(found).lo === lo) return found;
  }
  return 0;
}

function add(hi: u64, lo: u64): u32 {
  const taken = rows.take();
  if (taken === 0 || !byAddress.insert(hashPair(hi, lo), taken)) {
    if (taken !== 0) rows.give(taken);
    dnsAddressesRefused++;
    return 0;
  }
  const row = rowAt(taken);
  row.hi = hi;
  row.lo = lo;
  row.label = 0;
  row.isNews = 0;
  return taken;
}

function remove(removed: u32): void {
  const row = rowAt(removed);
  byAddress.remove(hashPair(row.hi, row.lo), removed);
  rows.give(removed);
}

function rowAt(row: u32): AddressRow {
  return changetype<AddressRow>(rows.at(row));
}
