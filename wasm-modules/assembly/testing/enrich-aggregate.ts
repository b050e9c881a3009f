// Entry of the test build: enrich and aggregate with the match side's calls open to the test, and limits to choose.

import { aggregateFlow, receiveEdge } from '../aggregate/accumulation';
import { initAggregate } from '../aggregate/close';
import { receiveSeriesCounts } from '../aggregate/series-budget';
import { aggregateTally } from '../aggregate/tallies';
import { receiveLabel } from '../enrich/label-channel';
import { initEnrich } from '../enrich/lifecycle';
import { receiveNode } from '../enrich/node-channel';
import { RECORD_HEADER_SIZE, RecordHeader, RecordKind } from '../gen/records';
import { allocate } from '../lib/arena';
import { countersAddress } from '../lib/counters';
import { seedHashes } from '../lib/hash';
import { initOutboxes } from '../lib/outbox';

export { aggregateClose } from '../aggregate/close';
export { announceEdge, edgeOf, edgeWorker, releaseEdge, retainEdge } from '../aggregate/edges';
export { pieceAddress, pieceBytes } from '../aggregate/output-piece';
export { bindHostAddress, endHostAddresses, nodeOfAddress, unbindHostAddress } from '../enrich/address-table';
export { classifyAddress, formatAddressInto } from '../enrich/address-text';
export { claimLabelAnnounce, writeLabel } from '../enrich/label-channel';
export { nodeOfHost, nodeOfProcess } from '../enrich/labels';
export { claimAnnounce, nodeOfChannel, writeNode, writeNodeRecord } from '../enrich/node-channel';
export { azNodeOf, idNodeOf, otherNode, releaseNode, retainNode, roleNodeOf } from '../enrich/nodes';
export { joinPod, podAddress } from '../enrich/pods';
export { labelOfText } from '../enrich/tally-labels';
export {
  addSample,
  giveHistogram,
  histogramIndex,
  initHistograms,
  mergeHistogram,
  takeHistogram,
  writeHistogram,
} from '../lib/histogram';
export { initTexts, internText, releaseText, textAddress, textBytes } from '../lib/intern';
export { clearOutbox, outboxAddress, outboxBytes } from '../lib/outbox';
export { countersAddress };

const SCRATCH_BYTES: usize = 1 << 20;
let scratchBlock: usize = 0;

export function scratch(): usize {
  if (scratchBlock === 0) scratchBlock = allocate(SCRATCH_BYTES);
  return scratchBlock;
}

export function init(
  worker: u32,
  workers: u32,
  seed: u32,
  openWindow: u32,
  outputLevels: u32,
  histogramLevels: u32,
  nodeCountMax: u32,
  textBytesMax: u32,
  claimCountMax: u32,
  edgeCountMax: u32,
  histogramCountMax: u32,
  tallyCountMax: u32,
  seriesBudget: u32,
): void {
  initOutboxes(workers);
  seedHashes(seed, (<u64>seed) << 32);
  initEnrich(worker, openWindow, nodeCountMax, textBytesMax, claimCountMax);
  initAggregate(
    worker,
    workers,
    openWindow,
    outputLevels,
    histogramLevels,
    edgeCountMax,
    histogramCountMax,
    tallyCountMax,
    seriesBudget,
  );
}

/** A block of records from worker `from`, as the mesh delivers it. */
export function receive(from: u32, block: usize, bytes: u32): void {
  let at = block;
  while (at < block + bytes) {
    const header = changetype<RecordHeader>(at);
    const record = at + RECORD_HEADER_SIZE;
    if (header.kind === RecordKind.Node) receiveNode(from, record);
    else if (header.kind === RecordKind.Edge) receiveEdge(from, record);
    else if (header.kind === RecordKind.EdgeFlow) aggregateFlow(from, record);
    else if (header.kind === RecordKind.EdgeTally) aggregateTally(from, record);
    else if (header.kind === RecordKind.Label) receiveLabel(from, record);
    else if (header.kind === RecordKind.SeriesCounts) receiveSeriesCounts(record);
    else unreachable();
    at += header.size;
  }
}
