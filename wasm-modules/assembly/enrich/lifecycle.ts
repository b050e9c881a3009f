// Start and window's end of the enrich stage.

import { TEXT_BYTES_MAX } from '../lib/intern';
import { initAddressNodes } from './address-nodes';
import { BINDING_COUNT_MAX, CLAIM_COUNT_MAX, initAddresses } from './address-table';
import { initLabelChannels } from './label-channel';
import { initLabels } from './labels';
import { initNodeChannels, openAnnounceWindow } from './node-channel';
import { expireNodes, initNodes, NODE_COUNT_MAX } from './nodes';
import { initPods } from './pods';
import { expireLabels, initTallyLabels } from './tally-labels';

/** Needs the seed of the hashes. `worker`: of `nodeOfChannel`, below WORKER_COUNT_MAX. Limits are for tests. */
export function initEnrich(
  worker: u32,
  openWindow: u32,
  nodeCountMax: u32 = NODE_COUNT_MAX,
  textBytesMax: u32 = TEXT_BYTES_MAX,
  claimCountMax: u32 = CLAIM_COUNT_MAX,
): void {
  initAddressNodes();
  initNodes(openWindow, nodeCountMax, textBytesMax);
  initNodeChannels(worker, openWindow);
  initAddresses(BINDING_COUNT_MAX, claimCountMax);
  initLabels();
  initPods();
  initTallyLabels(openWindow);
  initLabelChannels(worker);
}

/** The window `closed` is over on this worker: forgets what nobody used for long. `aggregateClose` calls it. */
export function closeEnrich(closed: u32): void {
  expireNodes(closed);
  expireLabels(closed);
  openAnnounceWindow(closed + 1);
}
