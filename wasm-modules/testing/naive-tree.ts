// What the tree must say, the slow way: every leaf is kept by its texts, and every level is added up from the leaves anew.
import { CloseReason } from '../../host/wire/gen/kernel-events-layout.ts';
import { type EdgeFlow, type EdgeTally, Level, NodeKind } from '../../host/wire/gen/records-layout.ts';
import type { NodeTexts } from './stage-worker.ts';
import {
  addCounted,
  addPoint,
  comparePoints,
  type Point,
  printPoint,
  printProcesses,
  tallyKey,
} from './window-output.ts';

export type FlowValues = Omit<EdgeFlow, 'edge'>;
export type TallyValues = Omit<EdgeTally, 'edge' | 'label' | 'teller'> & { label: string; teller?: number };

type EndLevel = 'id' | 'az' | 'role';
const LEVELS: [number, EndLevel, EndLevel][] = [
  [Level.IdId, 'id', 'id'],
  [Level.IdAz, 'id', 'az'],
  [Level.AzId, 'az', 'id'],
  [Level.AzAz, 'az', 'az'],
  [Level.RoleAz, 'role', 'az'],
  [Level.AzRole, 'az', 'role'],
  [Level.RoleRole, 'role', 'role'],
];

const FAILURES = new Map<number, string>([
  [CloseReason.ConnectRefused, 'refused'],
  [CloseReason.ConnectTimedOut, 'timedOut'],
  [CloseReason.ConnectAbandoned, 'abandoned'],
  [CloseReason.ConnectUnreachable, 'unreachable'],
  [CloseReason.ConnectOther, 'failedOther'],
]);
const ADDED = [
  'forwardBytes',
  'reverseBytes',
  'forwardPackets',
  'reversePackets',
  'forwardRetransmits',
  'reverseRetransmits',
  'residualBytes',
  'judgedBytes',
  'lateBytes',
  'connections',
  'closed',
  'clientBytesSent',
  'clientBytesReceived',
  'clientPacketsSent',
  'clientPacketsReceived',
  'serverBytesSent',
  'serverBytesReceived',
  'serverPacketsSent',
  'serverPacketsReceived',
] as const;

interface Leaf {
  point: Point;
  moved: boolean;
  /** By the executables of client and server within their units or containers. */
  pairs: Map<string, { active: number; moved: boolean }>;
}

export class NaiveTree {
  readonly #histogramLevels: number;
  readonly #leaves = new Map<string, Leaf>();

  constructor(histogramLevels = 0x7f) {
    this.#histogramLevels = histogramLevels;
  }

  add(
    client: NodeTexts,
    server: NodeTexts,
    serverPort: number,
    protocol: number,
    flow: FlowValues,
    counted: readonly TallyValues[] = [],
  ): void {
    const fields = new Map<string, bigint>(ADDED.map((name) => [name, BigInt(flow[name])]));
    fields.set('fromWindow', BigInt(flow.fromWindow));
    fields.set('active', BigInt(flow.activeDelta));
    fields.set(['', 'flowsClient', 'flowsServer', 'flowsBoth'][flow.match], 1n);
    if (flow.reason !== 0) {
      fields.set(FAILURES.get(flow.reason) ?? '', BigInt(flow.reasonCount));
      fields.set(['', 'resetsClient', 'resetsServer'][flow.resetBy], BigInt(flow.reasonCount));
    }
    fields.delete('');
    const buckets = new Map<number, number>();
    if (flow.rttUs > 0) {
      for (const name of ['rttMinUs', 'rttMaxUs', 'rttSumUs']) fields.set(name, BigInt(flow.rttUs));
      fields.set('rttCount', 1n);
      buckets.set(bucketOf(flow.rttUs), 1);
    }
    const leaf = this.#leafOf(withoutProcess(client), withoutProcess(server), serverPort, protocol);
    leaf.moved = true;
    const within = [client, server].map((node) => (node.kind === NodeKind.Process ? '' : node.process));
    const pair = leaf.pairs.get(within.join('\0')) ?? { active: 0, moved: false };
    leaf.pairs.set(within.join('\0'), { active: pair.active + flow.activeDelta, moved: true });
    addPoint(leaf.point, { ...leaf.point, fields, buckets, tallies: new Map() });
    for (const { kind, side, code, label, count, sum } of counted) {
      const samples = sum === 0n ? [] : ([[bucketOfNs(sum / count), Number(count)]] as const);
      addCounted(leaf.point.tallies, tallyKey(kind, side, code, cutLabel(label)), count, sum, new Map(samples));
    }
  }

  /** The lines of the closed window, by level and canonical order. */
  close(window: number): string[] {
    const shown = [...this.#leaves.values()].filter(({ point, moved }) => moved || point.fields.get('active') !== 0n);
    for (const { point, pairs } of shown) point.processes = namesOf(pairs);
    for (const { point } of shown) if (!point.fields.has('fromWindow')) point.fields.set('fromWindow', BigInt(window));
    const lines = LEVELS.flatMap(([level, clientLevel, serverLevel]) =>
      group(shown.map(({ point }) => projectPoint(point, level, clientLevel, serverLevel)))
        .map((point) => (((this.#histogramLevels >> level) & 1) === 1 ? point : withoutBuckets(point)))
        .map(printPoint),
    );
    for (const leaf of this.#leaves.values()) {
      leaf.moved = false;
      for (const pair of leaf.pairs.values()) pair.moved = false;
      leaf.point.fields = new Map([['active', leaf.point.fields.get('active') ?? 0n]]);
      leaf.point.buckets = new Map();
      leaf.point.tallies = new Map();
    }
    return lines;
  }

  #leafOf(client: NodeTexts, server: NodeTexts, serverPort: number, protocol: number) {
    const key = JSON.stringify([{ ...client, handle: 0 }, { ...server, handle: 0 }, serverPort, protocol]);
    let leaf = this.#leaves.get(key);
    if (leaf === undefined) {
      const point = {
        level: 0,
        client,
        server,
        protocol,
        serverPort,
        fields: new Map(),
        buckets: new Map(),
        tallies: new Map(),
      };
      leaf = { point, moved: false, pairs: new Map() };
      this.#leaves.set(key, leaf);
    }
    return leaf;
  }
}

/** The node that the id levels show. */
function withoutProcess(node: NodeTexts): NodeTexts {
  return node.kind === NodeKind.Process ? node : { ...node, process: '' };
}

/** Of the pairs that moved or have open flows; few enough for all to be told. */
function namesOf(pairs: Leaf['pairs']): string | undefined {
  const shown = [...pairs].filter(([, { active, moved }]) => moved || active > 0).map(([pair]) => pair.split('\0'));
  const ends = [0, 1].map((side) => {
    const names = new Set(shown.map((pair) => pair[side]).filter((name) => name !== ''));
    return [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }) as [string[], string[]];
  return ends[0].length + ends[1].length === 0 ? undefined : printProcesses(ends);
}

function projectNode(node: NodeTexts, level: EndLevel): NodeTexts {
  if (level === 'id') return node;
  const bare = { id: '', host: '', address: '', process: '', container: '', containerName: '', image: '', pod: '' };
  return { ...node, ...bare, zone: level === 'az' ? node.zone : '' };
}

function projectPoint(point: Point, level: number, clientLevel: EndLevel, serverLevel: EndLevel): Point {
  const client = projectNode(point.client, clientLevel);
  const server = projectNode(point.server, serverLevel);
  return {
    ...point,
    level,
    client,
    server,
    fields: new Map(point.fields),
    buckets: new Map(point.buckets),
    tallies: new Map(point.tallies),
    processes: level === Level.IdId ? point.processes : undefined,
  };
}

function group(points: Point[]): Point[] {
  const groups: Point[] = [];
  for (const point of points.sort(comparePoints)) {
    const last = groups.at(-1);
    if (last !== undefined && comparePoints(last, point) === 0) addPoint(last, point);
    else groups.push(point);
  }
  return groups;
}

function withoutBuckets(point: Point): Point {
  const tallies = [...point.tallies].map(([key, counted]) => [key, { ...counted, buckets: new Map() }] as const);
  return { ...point, buckets: new Map(), tallies: new Map(tallies) };
}

/** Labels have 256 bytes at most; the tests have none that would be cut within a character. */
function cutLabel(label: string): string {
  return Buffer.from(label).subarray(0, 256).toString();
}

/** Of seconds between 1 us and 2^27 us. */
export function bucketOf(sampleUs: number): number {
  return bucketOfSeconds(Math.min(Math.max(sampleUs, 1), 2 ** 27) / 1e6);
}

/** Of seconds between 1 us and 2^17 s. */
function bucketOfNs(sampleNs: bigint): number {
  return bucketOfSeconds(Math.min(Math.max(Number(sampleNs) / 1e9, 1e-6), 2 ** 17));
}

/** Upper-inclusive bucket of scale 3 by logarithm, put right where rounding decides. */
function bucketOfSeconds(seconds: number): number {
  let index = Math.ceil(Math.log2(seconds) * 8) - 1;
  if (seconds <= 2 ** (index / 8)) index--;
  if (seconds > 2 ** ((index + 1) / 8)) index++;
  return index;
}

/** A flow that did nothing. */
export const STILL: FlowValues = {
  fromWindow: 1,
  forwardBytes: 0n,
  reverseBytes: 0n,
  forwardPackets: 0n,
  reversePackets: 0n,
  forwardRetransmits: 0n,
  reverseRetransmits: 0n,
  residualBytes: 0n,
  judgedBytes: 0n,
  lateBytes: 0n,
  rttUs: 0,
  connections: 0,
  closed: 0,
  activeDelta: 0,
  reason: CloseReason.None,
  resetBy: 0,
  match: 0,
  reasonCount: 0,
  clientBytesSent: 0n,
  clientBytesReceived: 0n,
  clientPacketsSent: 0n,
  clientPacketsReceived: 0n,
  serverBytesSent: 0n,
  serverBytesReceived: 0n,
  serverPacketsSent: 0n,
  serverPacketsReceived: 0n,
};
