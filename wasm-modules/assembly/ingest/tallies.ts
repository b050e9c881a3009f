// Tally: what a socket, or the host, counted beyond its totals. Increments, so a batch is taken as a whole or not at all, and what is staged
// leaves with the session's window.

import { nodeAt } from '../enrich/nodes';
import { retainLabel } from '../enrich/tally-labels';
import {
  MATCH_TALLY_SIZE,
  MatchTally,
  RECORD_HEADER_SIZE,
  RecordKind,
  ReducerCounter,
  RefusalReason,
} from '../gen/records';
import { SAMPLED_TALLY_KINDS, TALLY_KINDS } from '../gen/tally-kinds';
import { TALLY_SIZE, Tally, TallyKind } from '../gen/wire';
import { count } from '../lib/counters';
import { SHARD_COUNT } from '../lib/flow-place';
import { stableHashPair } from '../lib/hash';
import { tellerOf } from '../lib/teller';
import { isKnownLabel, labelOfHandle } from './labels';
import { allowanceSince, TALLY_COUNT_MAX, TALLY_SAMPLE_NS_MAX } from './limits';
import { Session } from './session';
import { workerOfShard } from './shards';
import { SOCKET_COUNT_MAX, Socket, SocketState, socketRow } from './sockets';
import { canStage, stageBlank } from './staging';

export function checkTallies(session: Session, items: usize, itemCount: u32): u8 {
  if (session.tallyCount + itemCount > TALLY_COUNT_MAX) return RefusalReason.TallyQuota;
  if (!canStage(session, <u64>itemCount * (RECORD_HEADER_SIZE + MATCH_TALLY_SIZE))) return RefusalReason.Memory;
  const allowance = allowanceSince(session, session.toldWindow);
  for (let index: u32 = 0; index < itemCount; index++) {
    const reason = checkTally(session, changetype<Tally>(items + <usize>index * TALLY_SIZE), allowance);
    if (reason !== RefusalReason.None) return reason;
  }
  return RefusalReason.None;
}

function checkTally(session: Session, tally: Tally, allowance: u64): u8 {
  if (tally.kind === TallyKind.None) return RefusalReason.EnumValue;
  if (!isOpenOrHost(session, tally.handle)) return RefusalReason.UnknownHandle;
  if (!isKnownLabel(session, tally.label)) return RefusalReason.UnknownLabel;
  if (tally.count === 0) return RefusalReason.Counts;
  if (tally.count > allowance) return RefusalReason.TotalsRate;
  if (!hasBit(TALLY_KINDS, tally.kind)) return RefusalReason.None;
  if (!hasBit(SAMPLED_TALLY_KINDS, tally.kind)) return tally.sum === 0 ? RefusalReason.None : RefusalReason.Counts;
  return tally.sum <= TALLY_SAMPLE_NS_MAX && tally.sum / tally.count <= TALLY_SAMPLE_NS_MAX
    ? RefusalReason.None
    : RefusalReason.TotalsRate;
}

/** True also for a handle beyond the quota: its socket was refused. */
function isOpenOrHost(session: Session, handle: u32): bool {
  if (handle === 0 || handle >= SOCKET_COUNT_MAX) return true;
  const row = socketRow(session, handle);
  return row !== 0 && changetype<Socket>(row).state !== SocketState.Free;
}

function hasBit(kinds: u64, kind: u16): bool {
  return kind < 64 && ((kinds >>> kind) & 1) !== 0;
}

export function applyTallies(session: Session, items: usize, itemCount: u32): void {
  session.tallyCount += itemCount;
  for (let index: u32 = 0; index < itemCount; index++) {
    const tally = changetype<Tally>(items + <usize>index * TALLY_SIZE);
    if (!hasBit(TALLY_KINDS, tally.kind)) {
      count(ReducerCounter.TalliesIgnored);
    } else if (tally.handle === 0) {
      stageTally(session, tally, 0, workerOfHost(session.host)).node = session.host;
    } else {
      const row = tally.handle < SOCKET_COUNT_MAX ? socketRow(session, tally.handle) : 0;
      if (row !== 0 && changetype<Socket>(row).state === SocketState.Open) {
        stageTally(session, tally, changetype<Socket>(row).end, changetype<Socket>(row).worker);
      } else count(ReducerCounter.TalliesIgnored);
    }
  }
}

function stageTally(session: Session, tally: Tally, end: u32, worker: u32): MatchTally {
  const record = changetype<MatchTally>(stageBlank(session, RecordKind.MatchTally, MATCH_TALLY_SIZE, <u16>worker));
  record.end = end;
  record.kind = tally.kind;
  record.teller = tellerOf(session.identity);
  record.code = tally.code;
  record.label = labelOfHandle(session, tally.label);
  retainLabel(record.label);
  record.count = tally.count;
  record.sum = tally.sum;
  return record;
}

/** One worker keeps what all sessions of a host tell of it, so no other stage need send it on. */
function workerOfHost(host: u32): u32 {
  return workerOfShard(<u32>(stableHashPair(nodeAt(host).roleHash, 0) % SHARD_COUNT));
}
