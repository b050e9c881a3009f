// Makes the output of a worker by hand, so that what reads it is tested against the schema and not against the workers.
import {
  EDGE_POINT_SIZE,
  type EdgePoint,
  HISTOGRAM_RECORD_SIZE,
  LABEL_RECORD_SIZE,
  NODE_RECORD_SIZE,
  TALLY_POINT_SIZE,
  type TallyPoint,
  WINDOW_OUTPUT_SIZE,
  writeEdgePoint,
  writeHistogramRecord,
  writeLabelRecord,
  writeNodeRecord,
  writeTallyPoint,
  writeWindowOutput,
} from '../../wire/gen/records-layout.ts';
import type { Node } from '../edge-rows.ts';
import type { Histogram } from '../histogram.ts';

export const NO_NODE: Node = {
  kind: 3,
  id: '',
  role: '',
  zone: '',
  host: '',
  address: '',
  process: '',
  container: '',
  ...{ containerName: '', imageName: '', imageTag: '', podUid: '', podQos: '', podNamespace: '', podName: '' },
};

const NO_POINT: EdgePoint = {
  level: 0,
  protocol: 6,
  serverPort: 443,
  clientNode: 0,
  serverNode: 1,
  fromWindow: 0,
  forwardBytes: 0n,
  reverseBytes: 0n,
  forwardPackets: 0n,
  reversePackets: 0n,
  forwardRetransmits: 0n,
  reverseRetransmits: 0n,
  residualBytes: 0n,
  judgedBytes: 0n,
  lateBytes: 0n,
  connections: 0n,
  closed: 0n,
  active: 0n,
  refused: 0,
  timedOut: 0,
  abandoned: 0,
  unreachable: 0,
  failedOther: 0,
  resetsClient: 0,
  resetsServer: 0,
  flowsBoth: 0,
  flowsClient: 0,
  flowsServer: 0,
  rttCount: 0,
  rttMinUs: 0,
  rttMaxUs: 0,
  histogram: 0,
  rttSumUs: 0n,
  clientBytesSent: 0n,
  clientBytesReceived: 0n,
  clientPacketsSent: 0n,
  clientPacketsReceived: 0n,
  serverBytesSent: 0n,
  serverBytesReceived: 0n,
  serverPacketsSent: 0n,
  serverPacketsReceived: 0n,
};

/** Of a host when `serverNode` is left out. */
export interface TallySpec {
  kind: number;
  side?: number;
  code?: number;
  label?: string;
  count?: bigint;
  sum?: bigint;
  histogram?: Histogram;
  level?: number;
  protocol?: number;
  serverPort?: number;
  clientNode?: number;
  serverNode?: number;
}

export interface PointSpec extends Partial<Omit<EdgePoint, 'histogram'>> {
  histogram?: Histogram;
}

/** The bytes of one worker's closed window. Points and tallies name nodes by their index; tallies come in the order of their points. */
export function encodeWindowOutput(
  window: number,
  nodes: readonly Partial<Node>[],
  points: readonly PointSpec[],
  tallies: readonly TallySpec[] = [],
): Uint8Array {
  const bytes = new Uint8Array(1 << 20);
  const view = new DataView(bytes.buffer);
  let offset = WINDOW_OUTPUT_SIZE;
  for (const [handle, part] of nodes.entries())
    offset = writeNode(bytes, view, offset, handle, { ...NO_NODE, ...part });
  const nodeBytes = offset - WINDOW_OUTPUT_SIZE;
  const labels = [...new Set(tallies.flatMap(({ label }) => label ?? []))].sort();
  const labelsStart = offset;
  for (const [handle, label] of labels.entries()) offset = writeLabel(bytes, view, offset, handle, label);
  const labelBytes = offset - labelsStart;
  const histograms = offset + points.length * EDGE_POINT_SIZE + tallies.length * TALLY_POINT_SIZE;
  let end = histograms;
  let histogramCount = 0;
  for (const { histogram, ...point } of points) {
    const place = histogram === undefined ? 0 : end - histograms + 1;
    writeEdgePoint(view, offset, { ...NO_POINT, fromWindow: window, ...point, histogram: place });
    offset += EDGE_POINT_SIZE;
    if (histogram === undefined) continue;
    end = writeHistogram(view, end, histogram);
    histogramCount++;
  }
  for (const { histogram, label, ...tally } of tallies) {
    writeTallyPoint(view, offset, {
      ...NO_TALLY,
      ...tally,
      label: label === undefined ? 0 : labels.indexOf(label) + 1,
      histogram: histogram === undefined ? 0 : end - histograms + 1,
    });
    offset += TALLY_POINT_SIZE;
    if (histogram === undefined) continue;
    end = writeHistogram(view, end, histogram);
    histogramCount++;
  }
  const head = {
    window,
    nodeCount: nodes.length,
    nodeBytes,
    pointCount: points.length,
    histogramCount,
    histogramBytes: end - histograms,
    overflowPoints: 0,
    tallyCount: tallies.length,
    labelCount: labels.length,
    labelBytes,
    processBytes: 0,
    foldedLevels: 0,
  };
  writeWindowOutput(view, 0, head);
  return bytes.slice(0, end);
}

const NO_TALLY: Omit<TallyPoint, 'kind'> = {
  level: 0,
  protocol: 6,
  serverPort: 443,
  clientNode: 0,
  serverNode: 0xffffffff,
  side: 0,
  code: 0,
  label: 0,
  histogram: 0,
  count: 1n,
  sum: 0n,
};

function writeLabel(bytes: Uint8Array, view: DataView, offset: number, handle: number, label: string): number {
  const text = Buffer.from(label);
  writeLabelRecord(view, offset, { handle, textBytes: text.length });
  bytes.set(text, offset + LABEL_RECORD_SIZE);
  return offset + LABEL_RECORD_SIZE + text.length + (-text.length & 7);
}

function writeNode(bytes: Uint8Array, view: DataView, offset: number, handle: number, node: Node): number {
  const podParts = [node.podUid, node.podQos, node.podNamespace, node.podName];
  const pod = podParts.every((part) => part === '') ? '' : podParts.join('\0');
  const image = [node.imageName, node.imageTag].filter((part) => part !== '').join(':');
  const texts = [
    ...[node.id, node.role, node.zone, node.host, node.address, node.process],
    ...[node.container, node.containerName, image, pod],
  ].map((text) => Buffer.from(text));
  const [idBytes, roleBytes, zoneBytes, hostBytes, addressBytes, processBytes, ...container] = texts.map(
    (text) => text.length,
  );
  const [containerBytes, containerNameBytes, imageBytes, podBytes] = container;
  writeNodeRecord(view, offset, {
    handle,
    kind: node.kind,
    idBytes,
    roleBytes,
    zoneBytes,
    hostBytes,
    addressBytes,
    processBytes,
    containerBytes,
    containerNameBytes,
    imageBytes,
    podBytes,
  });
  let at = offset + NODE_RECORD_SIZE;
  for (const text of texts) {
    bytes.set(text, at);
    at += text.length;
  }
  return at + (-at & 7);
}

function writeHistogram(view: DataView, offset: number, { scale, offset: first, counts }: Histogram): number {
  writeHistogramRecord(view, offset, { scale, offset: first, bucketCount: counts.length });
  counts.forEach((count, index) => {
    view.setUint32(offset + HISTOGRAM_RECORD_SIZE + 4 * index, count, true);
  });
  const end = offset + HISTOGRAM_RECORD_SIZE + 4 * counts.length;
  return end + (-end & 7);
}
