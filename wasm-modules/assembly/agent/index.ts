// agent.wasm: the source of this node's twin (docs/protocol.md, sections 2, 3 and 6). Events of the kernel come in as they lie in the ring,
// payloads of frames go out; between them every socket is a row here and nothing in the host. Time is an argument.
//
// A window is told by `agent_begin_window`, then `agent_encode_next` until it returns 0; a snapshot by `agent_begin_snapshot` and the same.
// No event may be applied between these calls. Addresses are valid until the next call; memory may grow in any of them.
import { AGENT_COUNTERS_SIZE, AgentCounters } from '../gen/agent';
import { allocate } from '../lib/arena';
import { seedHashes } from '../lib/hash';
import {
  addressSpaceCount,
  addressSpacesRefused,
  initAddressSpaces,
  spaceNewsCount,
  takeSpaceNews,
} from './address-spaces';
import { beginCensus, closesInferred, endCensus } from './census';
import { dnsAddressCount, dnsAddressesRefused, namedAddressCount, takeNamedAddresses } from './dns/addresses';
import { dnsMalformed, dnsMessages, dnsUnasked, initDns, settleDns, tellDnsNames } from './dns/dns';
import { forgetQueries, queriesForgotten, queriesRefused, queryCount } from './dns/transactions';
import { beginEncoding, encodeNext, initEncoder } from './encoder';
import {
  amendments,
  applyEvents,
  eventsApplied,
  eventsMalformed,
  eventsRepeated,
  eventsStale,
  joinKeysLate,
  openingsInferred,
  ownersUnmatched,
} from './events';
import { commitFolds, foldCount, foldsMerged, initFolds, retellFolds, socketsFolded } from './folds';
import { commitReleases, initHandles, retellReleases } from './handles';
import { initHealth } from './health-row';
import { changeTold, commitJournal, initJournal, journalCount, journalSkipped, restartJournal } from './journal';
import {
  endedLabelCount,
  endIdleLabels,
  initLabels,
  labelCount,
  labelsRefused,
  labelsToNameCount,
  setLabelWindow,
  takeLabelsToName,
} from './labels';
import {
  CLOSED_RETAINED_MAX,
  JOURNAL_ENTRIES_MAX,
  LABEL_COUNT_MAX,
  PROCESS_COUNT_MAX,
  SETTLED_COUNT_MAX,
  SOCKET_COUNT_MAX,
  TALLY_COUNT_MAX,
} from './limits';
import {
  clearProcessesToName,
  endedProcessCount,
  endIdleProcesses,
  initProcesses,
  processCount,
  processesRefused,
  processesToName,
  processesToNameCount,
  setProcessWindow,
} from './processes';
import { closedSocketCount, commitClosed, initRetention, retellClosed } from './retention';
import { expireSettled, initSettled, setSettledWindowLength, settledCount, settledDropped } from './settled';
import {
  expireSettledFolds,
  initSettledFolds,
  rescaleSettledFolds,
  settledFoldCount,
  settledFoldsDropped,
  tellSettledFolds,
} from './settled-folds';
import { SocketFlag } from './socket-row';
import { initSockets, markDirty, nextSocket, socketAt, socketCount, socketsRefused } from './sockets';
import {
  commitTallies,
  initTallies,
  retellTallies,
  talliesForgotten,
  talliesLost,
  talliesMerged,
  talliesRefused,
  talliesTold,
  tally,
  tallyCount,
} from './tallies';
import { initVersions, retainVersion } from './versions';
import { initWaitingTallies, settleWaitingTallies } from './waiting-tallies';

const counters = changetype<AgentCounters>(memory.data(AGENT_COUNTERS_SIZE, 8));
let inbox: usize = 0;
let inboxBytes: u32 = 0;
let windowNs: f64 = 0;

/** Once, before anything else. A limit of 0 stands for its default (limits.ts). */
export function agent_init(
  seedLow: u64,
  seedHigh: u64,
  socketsMax: u32,
  closedRetainedMax: u32,
  journalEntriesMax: u32,
  settledMax: u32,
  talliesMax: u32,
): void {
  seedHashes(seedLow, seedHigh);
  const sockets = socketsMax === 0 ? SOCKET_COUNT_MAX : socketsMax;
  initSockets(sockets);
  // Handles outlive folded rows; each is released by a commit.
  initHandles(sockets * 2);
  initProcesses(PROCESS_COUNT_MAX);
  initAddressSpaces();
  initRetention(closedRetainedMax === 0 ? CLOSED_RETAINED_MAX : closedRetainedMax);
  const journalEntries = journalEntriesMax === 0 ? JOURNAL_ENTRIES_MAX : journalEntriesMax;
  initJournal(journalEntries);
  // A socket has one for what was told and one for what is committed.
  initVersions(sockets * 2 + journalEntries);
  initHealth(sockets);
  initSettled(settledMax === 0 ? SETTLED_COUNT_MAX : settledMax);
  initLabels(LABEL_COUNT_MAX);
  initTallies(talliesMax === 0 ? TALLY_COUNT_MAX : talliesMax);
  initDns();
  initWaitingTallies();
  initFolds();
  initSettledFolds();
  initEncoder();
}

/** The length of the windows that follow, nanoseconds. When it changes, a snapshot to another reducer has to follow. */
export function agent_set_window_length(lengthNs: f64): void {
  const ratio = windowNs === 0 ? 1 : windowNs / lengthNs;
  setSettledWindowLength(lengthNs, ratio);
  rescaleSettledFolds(ratio);
  if (windowNs !== 0) restartJournal();
  windowNs = lengthNs;
}

/** Room for `bytes` of events. */
export function agent_inbox(bytes: u32): usize {
  if (bytes > inboxBytes) {
    inbox = allocate(bytes);
    inboxBytes = bytes;
  }
  return inbox;
}

/** Applies events of the kernel; returns the bytes of those applied. Fewer than given: name the processes, then offer the rest again. */
export function agent_events(address: usize, bytes: u32): u32 {
  return applyEvents(address, bytes);
}

/** Closes were lost: SocketTotals of every socket that is alive follow, and may be mixed with other events. */
export function agent_begin_census(): void {
  beginCensus();
}

/** Whoever had no event since `agent_begin_census` has closed. `timeNs`: now, CLOCK_MONOTONIC. */
export function agent_end_census(timeNs: u64): void {
  endCensus(timeNs);
}

/** Counts of the host itself (tallies.ts); nothing is refused but what finds no room, and that is counted. */
export function agent_tally_host(kind: u32, code: u32, amount: u32): void {
  tally(0, <u16>kind, code, 0, amount, 0);
}

/**
 * Everything that the kernel had at `timeNs` (CLOCK_MONOTONIC) was applied, the totals of sockets included. `isDnsWhole` 0: DNS messages are
 * missing, so that a query may have an answer which nobody saw.
 */
export function agent_settle(timeNs: u64, isDnsWhole: u32): void {
  if (isDnsWhole === 0) forgetQueries();
  settleDns(timeNs);
  settleWaitingTallies();
}

/** From now on lookups are told apart by the names that were asked for, and addresses have them. */
export function agent_tell_dns_names(): void {
  tellDnsNames();
}

/** agent.ProcessToName structs. */
export function agent_processes_to_name(): usize {
  return processesToName();
}

export function agent_processes_to_name_count(): u32 {
  return processesToNameCount();
}

/** The host has read them. */
export function agent_processes_named(): void {
  clearProcessesToName();
}

/** Handles (u32) of processes to announce as ended with the next window. */
export function agent_processes_ended(): usize {
  return endIdleProcesses();
}

export function agent_processes_ended_count(): u32 {
  return endedProcessCount();
}

/** Address spaces to announce with the next window: agent.NetnsSpace structs. */
export function agent_space_news(): usize {
  return takeSpaceNews();
}

export function agent_space_news_count(): u32 {
  return spaceNewsCount();
}

/** agent.LabelToName structs: labels to announce with the next window. Again until there are none. */
export function agent_labels_to_name(): usize {
  return takeLabelsToName();
}

export function agent_labels_to_name_count(): u32 {
  return labelsToNameCount();
}

/** wire.NamedAddress structs to announce with the next window, after all labels were named. Again until there are none. */
export function agent_named_addresses(): usize {
  return takeNamedAddresses();
}

export function agent_named_addresses_count(): u32 {
  return namedAddressCount();
}

/** Handles (u32) of labels to announce as ended with the next window, after all labels were named. */
export function agent_labels_ended(): usize {
  return endIdleLabels();
}

export function agent_labels_ended_count(): u32 {
  return endedLabelCount();
}

/** `clockOffsetNs`: from CLOCK_MONOTONIC to the reducer's Unix time. Windows rise. */
export function agent_begin_window(window: u32, clockOffsetNs: i64): void {
  setProcessWindow(window, windowNs);
  setLabelWindow(window, windowNs);
  expireSettled(window);
  expireSettledFolds(window);
  beginEncoding(window, clockOffsetNs, false);
}

/**
 * A new channel: what was told on the old one is told again, as far as it is not committed. `window` was not told before. A reducer that is
 * the same as before (1) may still commit windows that it was told, and holds what was told up to `takenWindow`; one that is not (0) never will.
 */
export function agent_begin_snapshot(window: u32, clockOffsetNs: i64, isSameReducer: u32, takenWindow: u32): void {
  setProcessWindow(window, windowNs);
  setLabelWindow(window, windowNs);
  expireSettled(window);
  expireSettledFolds(window);
  retellReleases(window);
  retellFolds(isSameReducer === 0 ? 0 : takenWindow);
  retellTallies(isSameReducer === 0 ? 0 : takenWindow);
  if (isSameReducer === 0) tellSettledFolds();
  retellClosed(isSameReducer !== 0);
  for (let row = nextSocket(0); row !== 0; row = nextSocket(row)) {
    const socket = socketAt(row);
    changeTold(socket, retainVersion(socket.committed));
    socket.clear(SocketFlag.BaselineDue);
    if (socket.has(SocketFlag.Closed)) continue;
    socket.clear(SocketFlag.OpenTold);
    markDirty(row);
  }
  beginEncoding(window, clockOffsetNs, true);
}

/** An agent.EncodedPayload, or 0 when everything is told. */
export function agent_encode_next(): usize {
  return encodeNext();
}

/** Windows up to and with this one are exported: what was told in them may be forgotten. */
export function agent_commit(window: u32): void {
  commitJournal(window);
  commitTallies(window);
  commitClosed(window);
  commitReleases(window);
  commitFolds(window);
}

/** An agent.AgentCounters, of this moment. */
export function agent_counters(): usize {
  counters.events = eventsApplied;
  counters.eventsMalformed = eventsMalformed;
  counters.eventsRepeated = eventsRepeated;
  counters.eventsStale = eventsStale;
  counters.openingsInferred = openingsInferred;
  counters.closesInferred = closesInferred;
  counters.ownersUnmatched = ownersUnmatched;
  counters.amendments = amendments;
  counters.joinKeysLate = joinKeysLate;
  counters.socketsLive = socketCount() - closedSocketCount();
  counters.socketsClosed = closedSocketCount();
  counters.socketsRefused = socketsRefused();
  counters.socketsFolded = socketsFolded();
  counters.folds = foldCount();
  counters.foldsMerged = foldsMerged();
  counters.settled = settledCount() + settledFoldCount();
  counters.settledDropped = settledDropped() + settledFoldsDropped();
  counters.journalEntries = journalCount();
  counters.journalSkipped = journalSkipped();
  counters.processes = processCount();
  counters.processesRefused = processesRefused();
  counters.addressSpaces = addressSpaceCount();
  counters.addressSpacesRefused = addressSpacesRefused();
  counters.tallies = tallyCount();
  counters.talliesTold = talliesTold;
  counters.talliesRefused = talliesRefused;
  counters.talliesMerged = talliesMerged;
  counters.talliesLost = talliesLost;
  counters.talliesForgotten = talliesForgotten;
  counters.labels = labelCount();
  counters.labelsRefused = labelsRefused;
  counters.dnsMessages = dnsMessages;
  counters.dnsMalformed = dnsMalformed;
  counters.dnsUnasked = dnsUnasked;
  counters.dnsQueries = queryCount();
  counters.dnsQueriesRefused = queriesRefused + queriesForgotten;
  counters.dnsAddresses = dnsAddressCount();
  counters.dnsAddressesRefused = dnsAddressesRefused;
  counters.memoryBytes = (<u64>memory.size()) << 16;
  return changetype<usize>(counters);
}
