// The reducer's stages as the host calls them. Addresses are offsets in this instance's memory; any export may grow the memory, so the host
// fetches its views again after each call. A trap means that the process must end (exit code 70).
//
// One window k on one worker:
//   session_frames ...          until the coordinator seals k; sessions that have told k are held (SessionFlag.Held)
//   ingest_seal(k)              from here on session_frames consumes nothing
//   mesh_receive ...            until match_ready()
//   match_close(budget) ...     until it returns 0; drain the outboxes after every call; then ingest takes k + 1
//   mesh_receive ...            until aggregate_ready(), again whenever that is 0
//   aggregate_close(rows) ...   until it returns 0; each call may leave a piece of the WindowOutput of k; frames may come in between
// The outboxes are drained after every export that may fill them: session_frames, session_detach, ingest_seal, match_close, aggregate_close.

import { ALL_LEVELS, aggregateClose, initAggregate, isCloseWaiting, outputBytes } from '../aggregate/close';
import { EDGE_COUNT_MAX, TALLY_COUNT_MAX } from '../aggregate/limits';
import { pieceAddress, pieceBytes } from '../aggregate/output-piece';
import { initEnrich } from '../enrich/lifecycle';
import { ReducerCounter } from '../gen/records';
import { initEnds } from '../ingest/ends';
import { departSession, isShipping, readFrames } from '../ingest/frames';
import { openSession } from '../ingest/hello';
import { initNamedAddresses } from '../ingest/named-addresses';
import { initSessions, SESSION_COUNT_MAX, sessionAt } from '../ingest/session';
import { initShards } from '../ingest/shards';
import { continueShipping, initShip } from '../ingest/ship';
import { initUpdateRuns } from '../ingest/update-runs';
import { advanceWindow, initWindows, isWindowSealed, openWindow, sealWindow } from '../ingest/windows';
import { arenaBytes, giveBlock, takeBlock } from '../lib/arena';
import { countersAddress, set } from '../lib/counters';
import { seedHashes } from '../lib/hash';
import { HISTOGRAM_COUNT_MAX } from '../lib/histogram';
import { clearOutbox, initOutboxes, outboxAddress, outboxBytes, setUnbounded } from '../lib/outbox';
import { initBaselines } from '../match/baselines';
import { initBriefFlows } from '../match/brief-flows';
import { initCarried } from '../match/carried';
import { initChannelEnds } from '../match/channel-ends';
import { initClaimedAddresses } from '../match/claimed-addresses';
import { closeWindow } from '../match/close';
import { initEdgeSums } from '../match/edge-sums';
import { initEmit } from '../match/emit';
import { initExported } from '../match/exported';
import { initFlowTable, noteCommitted } from '../match/flow-table';
import { initFolds } from '../match/folds';
import { initHistories } from '../match/history';
import { initOnceChannels } from '../match/once-channel';
import { initOwnTotals } from '../match/own-numbers';
import { initOnces } from '../match/shard-onces';
import { initWaitingTallies } from '../match/tallies';
import { initViewpoints } from '../match/viewpoints';
import {
  beginAggregateWindow,
  endAggregateHop,
  endMatchHop,
  initMesh,
  isAggregateReady,
  isMatchReady,
  receiveBlock,
} from './mesh';

/**
 * Once, before all others. `workers`: 1 to 64. `windowNs`: length of a window. `outputLevels` and `histogramLevels`: bits by records.Level;
 * 0 output levels means all. `seriesBudget`: rows of a level that all workers put out, beside those of (other); 0 means as many as there are.
 */
export function reducer_init(
  worker: u32,
  workers: u32,
  seedLow: u32,
  seedHigh: u32,
  windowNs: f64,
  firstWindow: u32,
  outputLevels: u32,
  histogramLevels: u32,
  seriesBudget: u32,
): void {
  seedHashes(seedLow, seedHigh);
  initShards(workers);
  initWindows(firstWindow, <u64>windowNs);
  initOutboxes(workers);
  initMesh(worker, workers);
  initEnrich(worker, firstWindow);
  initAggregate(
    worker,
    workers,
    firstWindow,
    outputLevels === 0 ? ALL_LEVELS : outputLevels,
    histogramLevels,
    EDGE_COUNT_MAX,
    HISTOGRAM_COUNT_MAX,
    TALLY_COUNT_MAX,
    seriesBudget,
  );
  initChannelEnds(workers);
  initFlowTable(<u64>windowNs);
  initBriefFlows();
  initViewpoints();
  initOnceChannels();
  initOnces();
  initBaselines();
  initCarried();
  initHistories();
  initOwnTotals();
  initExported();
  initFolds(<u64>windowNs);
  initWaitingTallies();
  initClaimedAddresses();
  initEmit(worker);
  initEdgeSums(workers);
  initSessions();
  initNamedAddresses();
  initEnds(workers);
  initShip(worker);
  initUpdateRuns();
}

let frames: usize = 0;
let framesBytes: u32 = 0;
let mesh: usize = 0;
let meshBytes: u32 = 0;

/** Scratch of at least `bytes` for session_open and session_frames, valid until it is asked for again. Traps when memory is used up. */
export function frame_inbox(bytes: u32): usize {
  if (bytes <= framesBytes) return frames;
  frames = replaceScratch(frames, framesBytes, bytes);
  framesBytes = bytes;
  return frames;
}

/** The same for mesh_receive. */
export function mesh_inbox(bytes: u32): usize {
  if (bytes <= meshBytes) return mesh;
  mesh = replaceScratch(mesh, meshBytes, bytes);
  meshBytes = bytes;
  return mesh;
}

function replaceScratch(address: usize, oldBytes: u32, bytes: u32): usize {
  if (address !== 0) giveBlock(address, oldBytes);
  const taken = takeBlock(bytes);
  if (taken === 0) unreachable();
  return taken;
}

/** The payload of a Hello. Returns the slot of the session, or minus a RefusalReason. A session that is known here keeps its slot. */
export function session_open(address: usize, bytes: u32): i32 {
  return openSession(address, bytes);
}

/**
 * Contiguous whole frames at an 8-aligned address: header and payload, decompressed, CRC and sequence checked. Returns the bytes consumed.
 * Less means: Held, call again after the window closed; More, drain and call again (with 0 bytes when none are left); Quarantined, detach it.
 */
export function session_frames(slot: u32, address: usize, bytes: u32): u32 {
  const session = sessionAt(slot);
  return session.isUsed === 0 ? 0 : readFrames(session, address, bytes);
}

/** A SessionState; it stands until the slot is given to another session. */
export function session_state(slot: u32): usize {
  return changetype<usize>(sessionAt(slot).state);
}

/**
 * The session is over: Goodbye, grace expired or quarantined (CloseReason.AgentLost), or replaced by another session of its agent, whose
 * snapshot should have been consumed before (AgentRestart). While SessionFlag.More is set, drain and call session_frames with 0 bytes.
 */
export function session_detach(slot: u32, reason: u8): void {
  const session = sessionAt(slot);
  if (session.isUsed !== 0) departSession(session, reason);
}

/** Ends the open window, which must be `window`, for the sessions of this worker. */
export function ingest_seal(window: u32): void {
  setUnbounded(true);
  for (let slot: u32 = 0; slot < SESSION_COUNT_MAX; slot++) {
    const session = sessionAt(slot);
    while (session.isUsed !== 0 && isShipping(session) && !continueShipping(session)) {}
  }
  setUnbounded(false);
  endMatchHop(window);
  sealWindow();
}

/** The block of records for another worker, mesh_outbox_bytes long. */
export function mesh_outbox(worker: u32): usize {
  return outboxAddress(worker);
}

export function mesh_outbox_bytes(worker: u32): u32 {
  return outboxBytes(worker);
}

export function mesh_outbox_clear(worker: u32): void {
  clearOutbox(worker);
}

/**
 * Records from another worker, at an 8-aligned address. Returns the bytes consumed; less = the channel waits for match_close, or the last record
 * is not whole.
 */
export function mesh_receive(from: u32, address: usize, bytes: u32): u32 {
  return receiveBlock(from, address, bytes);
}

/** 1 when every channel to match has reached the end of the sealed window. */
export function match_ready(): u32 {
  return isWindowSealed() && isMatchReady() ? 1 : 0;
}

/** Books at most `budget` flows (at least 1) of the sealed window; returns 1 when there is more to do. */
export function match_close(budget: u32): u32 {
  const window = openWindow();
  if (!closeWindow(window, max(budget, 1))) return 1;
  endAggregateHop(window);
  advanceWindow(window);
  return 0;
}

/** 1 when everything of the last closed window has reached aggregate, and what other workers have to say of their rows. */
export function aggregate_ready(): u32 {
  return isAggregateReady() && !isCloseWaiting() ? 1 : 0;
}

/** Does about `rows` rows (at least 1) of the close; returns 1 when there is more to do. Each call may write a piece of the WindowOutput. */
export function aggregate_close(rows: u32): u32 {
  if (!aggregateClose(openWindow() - 1, max(rows, 1))) return 1;
  beginAggregateWindow();
  return 0;
}

/** Bytes of the whole WindowOutput, from its first piece on. */
export function output_bytes(): u32 {
  return outputBytes();
}

/** Address of what the last aggregate_close wrote, valid until the next one. */
export function output_piece(): usize {
  return pieceAddress();
}

export function output_piece_bytes(): u32 {
  return pieceBytes();
}

/** Every exporter has `window`: nobody tells again what was closed up to it, and match forgets it at the next match_close. */
export function match_committed(window: u32): void {
  noteCommitted(window);
}

/** u64 counters by records.ReducerCounter. */
export function stats(): usize {
  set(ReducerCounter.MemoryBytes, arenaBytes());
  return countersAddress();
}
