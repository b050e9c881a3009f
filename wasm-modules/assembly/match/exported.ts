// What earlier incarnations of the reducer exported of a flow, as its ends know it by their committed baselines. Few flows have it.
import { RowPool } from '../lib/row-pool';
import { Baseline } from './baselines';
import { coldFlowAt, FLOW_COUNT_MAX } from './flow';

@unmanaged
export class Exported {
  /** Free rows keep their list here. */
  pad0: u64;
  forwardBytes: u64;
  reverseBytes: u64;
  forwardPackets: u64;
  reversePackets: u64;
}

let rows: RowPool = changetype<RowPool>(0);

export function initExported(): void {
  rows = RowPool.create(offsetof<Exported>(), FLOW_COUNT_MAX);
}

export function exportedAt(row: u32): Exported {
  return changetype<Exported>(rows.at(row));
}

/** `client` and `server`: committed totals, or zeros. */
export function noteExported(flow: u32, client: Baseline, server: Baseline): void {
  const cold = coldFlowAt(flow);
  if (cold.exported === 0) {
    cold.exported = rows.take();
    memory.fill(rows.at(cold.exported), 0, offsetof<Exported>());
  }
  const exported = exportedAt(cold.exported);
  exported.forwardBytes = max(exported.forwardBytes, max(client.bytesSent, server.bytesReceived));
  exported.reverseBytes = max(exported.reverseBytes, max(server.bytesSent, client.bytesReceived));
  exported.forwardPackets = max(exported.forwardPackets, max(client.segmentsSent, server.segmentsReceived));
  exported.reversePackets = max(exported.reversePackets, max(server.segmentsSent, client.segmentsReceived));
}

export function dropExported(flow: u32): void {
  const cold = coldFlowAt(flow);
  if (cold.exported === 0) return;
  rows.give(cold.exported);
  cold.exported = 0;
}
