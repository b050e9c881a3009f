// One instance of the test build, with text and records carried into its memory. It stands for the match side of one worker and for
// the owner side of the same worker, like in a reducer.
import {
  EDGE_FLOW_SIZE,
  EDGE_TALLY_SIZE,
  type EdgeFlow,
  NODE_RECORD_SIZE,
  RECORD_HEADER_SIZE,
  RecordKind,
  ReducerCounter,
  readNodeRecord,
  writeEdgeFlow,
  writeEdgeTally,
  writeRecordHeader,
} from '../../host/wire/gen/records-layout.ts';

import type { TallyValues } from './naive-tree.ts';

type Call = (...values: (number | bigint)[]) => number;

export interface StageOptions {
  worker?: number;
  workers?: number;
  seed?: number;
  openWindow?: number;
  /** Of a slice of the close. */
  closeRows?: number;
  outputLevels?: number;
  histogramLevels?: number;
  nodeCountMax?: number;
  textBytesMax?: number;
  claimCountMax?: number;
  edgeCountMax?: number;
  histogramCountMax?: number;
  tallyCountMax?: number;
  seriesBudget?: number;
}

/** What an agent knows of an owner; absent texts are empty. */
export interface Owner {
  host: string;
  zone: string;
  comm?: string;
  executable?: string;
  unit?: string;
  container?: string;
  containerName?: string;
  image?: string;
  podUid?: string;
  podQos?: string;
  podNamespace?: string;
  podName?: string;
}

export interface NodeTexts {
  handle: number;
  kind: number;
  id: string;
  role: string;
  zone: string;
  host: string;
  address: string;
  process: string;
  container: string;
  containerName: string;
  image: string;
  /** As enrich/pods.ts joins it. */
  pod: string;
}

export interface Block {
  to: number;
  bytes: Uint8Array;
}

const ALL_LEVELS = 0x7f;
/** Few, so that a close ends a slice wherever it can. */
const CLOSE_ROWS = 3;
/** Behind all records of one message in the scratch. */
const TEXT_OFFSET = 1 << 16;

export class StageWorker {
  readonly worker: number;
  readonly #memory: WebAssembly.Memory;
  readonly #exports: Record<string, Call>;
  readonly #scratch: number;
  readonly #closeRows: number;
  /** Of the output that is being written. */
  readonly #pieces: Uint8Array[] = [];

  constructor(module: WebAssembly.Module, options: StageOptions = {}) {
    const exports = new WebAssembly.Instance(module).exports;
    this.#memory = exports.memory as WebAssembly.Memory;
    this.#exports = exports as Record<string, Call>;
    this.worker = options.worker ?? 0;
    this.#closeRows = options.closeRows ?? CLOSE_ROWS;
    this.#scratch = this.call('scratch');
    this.call(
      'init',
      this.worker,
      options.workers ?? 1,
      options.seed ?? 1,
      options.openWindow ?? 1,
      options.outputLevels ?? ALL_LEVELS,
      options.histogramLevels ?? ALL_LEVELS,
      options.nodeCountMax ?? 1 << 16,
      options.textBytesMax ?? 1 << 24,
      options.claimCountMax ?? 1 << 12,
      options.edgeCountMax ?? 1 << 16,
      options.histogramCountMax ?? 1 << 14,
      options.tallyCountMax ?? 1 << 14,
      options.seriesBudget ?? 0,
    );
  }

  /** Results are unsigned. */
  call(name: string, ...values: (number | bigint)[]): number {
    return this.#exports[name](...values) >>> 0;
  }

  get scratch(): number {
    return this.#scratch;
  }

  counter(name: keyof typeof ReducerCounter): number {
    const view = new DataView(this.#memory.buffer, this.call('countersAddress'));
    return Number(view.getBigUint64(ReducerCounter[name] * 8, true));
  }

  bytesAt(address: number, bytes: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, address, bytes).slice();
  }

  textAt(address: number, bytes: number): string {
    return new TextDecoder('utf-8', { fatal: true }).decode(this.bytesAt(address, bytes));
  }

  /** Puts texts one after another at `at`; returns (address, bytes) of each. */
  putTexts(texts: string[], at = this.#scratch): number[] {
    let next = at;
    return texts.flatMap((text) => {
      const bytes = Buffer.from(text);
      new Uint8Array(this.#memory.buffer).set(bytes, next);
      next += bytes.length;
      return [next - bytes.length, bytes.length];
    });
  }

  nodeOf({ host, zone, comm = '', executable = '', unit = '', container = '', ...more }: Owner): number {
    const { containerName = '', image = '', podUid = '', podQos = '', podNamespace = '', podName = '' } = more;
    const hostNode = this.call('nodeOfHost', ...this.putTexts([host, zone]));
    const podBytes = this.call('joinPod', ...this.putTexts([podUid, podQos, podNamespace, podName]));
    const texts = this.putTexts([comm, executable, unit, container, containerName, image]);
    return this.call('nodeOfProcess', hostNode, ...texts, this.call('podAddress'), podBytes);
  }

  nodeOfAddress(address: Uint8Array, space = 0n): number {
    return this.call('nodeOfAddress', ...addressHalves(address), space, 0);
  }

  readNode(node: number): NodeTexts {
    this.call('writeNodeRecord', node, node, this.#scratch);
    return readNodeTexts(new DataView(this.#memory.buffer), this.#scratch).node;
  }

  /** What the match side of this worker sends to the owner for one flow; carried out at once when the owner is this worker. */
  sendFlow(edge: number, flow: Omit<EdgeFlow, 'edge'>): Block | undefined {
    const announced = this.call('announceEdge', edge, this.#scratch);
    const to = this.call('edgeWorker', edge);
    const start = this.#scratch + announced;
    const view = new DataView(this.#memory.buffer);
    writeRecordHeader(view, start, { size: RECORD_HEADER_SIZE + EDGE_FLOW_SIZE, kind: RecordKind.EdgeFlow });
    writeEdgeFlow(view, start + RECORD_HEADER_SIZE, { edge, ...flow });
    const bytes = announced + RECORD_HEADER_SIZE + EDGE_FLOW_SIZE;
    if (to !== this.worker) return { to, bytes: this.bytesAt(this.#scratch, bytes) };
    this.call('receive', this.worker, this.#scratch, bytes);
    return undefined;
  }

  /** The same for one tally; `label` is a text. */
  sendTally(edge: number, { label, ...tally }: TallyValues): Block | undefined {
    let at = this.#scratch + this.call('announceEdge', edge, this.#scratch);
    const to = this.call('edgeWorker', edge);
    const handle = this.call('labelOfText', ...this.putTexts([label], at + TEXT_OFFSET));
    if (this.call('claimLabelAnnounce', handle, to) !== 0) at += this.call('writeLabel', handle, at);
    const view = new DataView(this.#memory.buffer);
    writeRecordHeader(view, at, { size: RECORD_HEADER_SIZE + EDGE_TALLY_SIZE, kind: RecordKind.EdgeTally });
    writeEdgeTally(view, at + RECORD_HEADER_SIZE, { edge, label: handle, teller: 0, ...tally });
    const bytes = at + RECORD_HEADER_SIZE + EDGE_TALLY_SIZE - this.#scratch;
    if (to !== this.worker) return { to, bytes: this.bytesAt(this.#scratch, bytes) };
    this.call('receive', this.worker, this.#scratch, bytes);
    return undefined;
  }

  receive(from: number, bytes: Uint8Array): void {
    new Uint8Array(this.#memory.buffer).set(bytes, this.#scratch);
    this.call('receive', from, this.#scratch, bytes.length);
  }

  close(window: number): Uint8Array {
    return closeTogether([this], window)[0];
  }

  /** A slice of the window's close; its output, once that is whole. */
  closeSlice(window: number): Uint8Array | undefined {
    const isClosed = this.call('aggregateClose', window, this.#closeRows) !== 0;
    this.#pieces.push(this.bytesAt(this.call('pieceAddress'), this.call('pieceBytes')));
    return isClosed ? Buffer.concat(this.#pieces.splice(0)) : undefined;
  }

  /** What waits for worker `to`. */
  takeOutbox(to: number): Uint8Array {
    const bytes = this.bytesAt(this.call('outboxAddress', to), this.call('outboxBytes', to));
    this.call('clearOutbox', to);
    return bytes;
  }
}

/** The outputs of all `workers`, which tell each other how many rows they have when there is a budget. */
export function closeTogether(workers: readonly StageWorker[], window: number): Uint8Array[] {
  const outputs = new Map<StageWorker, Uint8Array>();
  while (outputs.size < workers.length) {
    for (const worker of workers) {
      const output = outputs.has(worker) ? undefined : worker.closeSlice(window);
      if (output !== undefined) outputs.set(worker, output);
      for (const other of workers) if (other !== worker) other.receive(worker.worker, worker.takeOutbox(other.worker));
    }
  }
  return workers.map((worker) => outputs.get(worker) ?? new Uint8Array(0));
}

/** The two loads of 8 bytes as which WASM sees an address of 16. */
export function addressHalves(address: Uint8Array): [bigint, bigint] {
  const view = new DataView(address.buffer, address.byteOffset, 16);
  return [view.getBigUint64(0, true), view.getBigUint64(8, true)];
}

/** Reads the NodeRecord at `offset`; `end` is where the next one starts. */
export function readNodeTexts(view: DataView, offset: number): { node: NodeTexts; end: number } {
  const record = readNodeRecord(view, offset);
  let at = offset + NODE_RECORD_SIZE;
  const take = (bytes: number): string => {
    at += bytes;
    return Buffer.from(view.buffer, view.byteOffset + at - bytes, bytes).toString();
  };
  const node = {
    handle: record.handle,
    kind: record.kind,
    id: take(record.idBytes),
    role: take(record.roleBytes),
    zone: take(record.zoneBytes),
    host: take(record.hostBytes),
    address: take(record.addressBytes),
    process: take(record.processBytes),
    container: take(record.containerBytes),
    containerName: take(record.containerNameBytes),
    image: take(record.imageBytes),
    pod: take(record.podBytes),
  };
  return { node, end: at + (-at & 7) };
}
