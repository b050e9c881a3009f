/**
 * The reference model, first part: what agents tell, as far as the open window may know it (docs/protocol.md, sections 2 to 4). The model is
 * written from docs/ alone, with maps and bigint and without code of the product; it takes a script and gives lines of text.
 */
import assert from 'node:assert/strict';
import type { Once, Open, Tally, Totals } from '../../host/wire/gen/wire-layout.ts';
import type { Announce } from '../../host/wire/gen/wire-tables.ts';
import { ReferenceBudget } from './reference-budget.ts';
import { type End, ReferenceFlows, type Tallied } from './reference-flows.ts';
import { type Node, nodeOfOwner } from './reference-names.ts';
import { printRow, rowsOf } from './reference-rows.ts';
import type { Frame, Session, Step } from './script.ts';

/** One session as the reducer mirrors it. */
export interface Teller {
  session: Session;
  /** What its sockets are named by when no process is known. */
  host: Node;
  isGone: boolean;
  processes: Map<number, Node>;
  spaces: Map<number, string>;
  labels: Map<number, string>;
  /** Addresses that the host says are its own, and names of others', each with its space. */
  addresses: Set<string>;
  names: Map<string, string>;
  sockets: Map<number, End>;
  /** Heard, but not yet followed by a WindowEnd. */
  heard: Frame[];
  /** What was told between two WindowEnds, in order; an empty one is the Goodbye. */
  batches: Frame[][];
}

export class ReferenceModel {
  readonly #tellers = new Map<bigint, Teller>();
  readonly #flows = new ReferenceFlows(this.#tellers);
  #hostTallies: { host: Node; tallied: Tallied }[] = [];
  readonly #budget: ReferenceBudget;

  constructor(seriesBudget: number) {
    this.#budget = new ReferenceBudget(seriesBudget);
  }

  /** The rows of the window that a step closes. */
  run(step: Step): string[] | undefined {
    if (step.step === 'close') return this.#close(step.window);
    if (step.step === 'wait') return undefined;
    const { session } = step;
    const teller = this.#tellers.get(session.session) ?? newTeller(session);
    this.#tellers.set(session.session, teller);
    if (step.step === 'goodbye') teller.batches.push([]);
    // What is sent again after a cut has been heard: connections that end and begin change nothing.
    if (step.step !== 'tell') return undefined;
    for (const frame of step.frames) {
      teller.heard.push(frame);
      if (frame.kind === 'windowEnd') teller.batches.push(teller.heard.splice(0));
    }
    return undefined;
  }

  #close(window: number): string[] {
    for (const teller of this.#tellers.values()) this.#hear(teller, window);
    const rows = this.#budget.bound(window, rowsOf(this.#flows.close(window), this.#hostTallies));
    this.#hostTallies = [];
    // The window in which an agent leaves still knows its addresses.
    for (const teller of this.#tellers.values()) if (teller.isGone) teller.addresses.clear();
    return rows.map(printRow);
  }

  /** A channel is read up to the end of the open window, and what an agent tells of earlier windows counts for this one. */
  #hear(teller: Teller, window: number): void {
    while (teller.batches.length > 0) {
      const [batch] = teller.batches;
      const end = batch.at(-1);
      if (end?.kind === 'windowEnd' && end.window > window) return;
      teller.batches.shift();
      if (end?.kind !== 'windowEnd') this.#leave(teller);
      else for (const frame of batch) this.#apply(teller, frame, end.fromWindow);
      if (end?.kind === 'windowEnd' && end.window === window) return;
    }
  }

  #apply(teller: Teller, frame: Frame, from: number): void {
    const flows = this.#flows;
    switch (frame.kind) {
      case 'announce':
        announce(teller, frame.announce);
        break;
      case 'open':
        for (const open of frame.items) this.#open(teller, open);
        break;
      case 'baseline':
        for (const { handle, kind, totals } of frame.items) flows.baseline(socketOf(teller, handle), kind, totals);
        break;
      case 'tally':
        for (const tally of frame.items) this.#tally(teller, tally);
        break;
      case 'once':
        for (const once of frame.items) this.#once(teller, once, from);
        break;
      case 'narrow':
        for (const update of frame.items) {
          const end = socketOf(teller, update.handle);
          flows.report(end, sum(end.told, update), from);
        }
        break;
      case 'wide':
        for (const { handle, totals } of frame.items) flows.report(socketOf(teller, handle), totals, from);
        break;
      case 'close':
        for (const close of frame.items) {
          const end = socketOf(teller, close.handle);
          flows.report(end, close.totals, from);
          flows.end(end, close);
          teller.sockets.delete(close.handle);
        }
        break;
      case 'settled':
        for (const settled of frame.items) flows.settle(teller, settled);
        break;
      case 'snapshotEnd':
        // What the snapshot of a new session of a known agent lacks is closed.
        for (const other of this.#tellers.values())
          if (other !== teller && other.session.agent === teller.session.agent) this.#leave(other);
        break;
    }
  }

  #open(teller: Teller, open: Open): End {
    const end = this.#flows.claim(teller, open, {
      node: teller.processes.get(open.process) ?? teller.host,
      remoteName: teller.names.get(placeOf(teller, open.addressSpace, open.remoteAddress)) ?? '',
    });
    if (open.handle !== 0) teller.sockets.set(open.handle, end);
    return end;
  }

  #once(teller: Teller, once: Once, from: number): void {
    const end = this.#open(teller, once.open);
    this.#flows.report(end, once.totals, from);
    this.#flows.end(end, once);
    this.#flows.endOnce(end, once);
  }

  #tally(teller: Teller, { handle, kind, code, label, count, sum }: Tally): void {
    const tallied = { kind, code, label: teller.labels.get(label) ?? '', count, sum };
    if (handle === 0) this.#hostTallies.push({ host: teller.host, tallied: { ...tallied, side: 0 } });
    else this.#flows.tally(socketOf(teller, handle), tallied);
  }

  /** Nobody looks at its sockets any more. */
  #leave(teller: Teller): void {
    for (const end of teller.sockets.values()) if (end.teller === teller) this.#flows.lose(end);
    teller.sockets.clear();
    teller.isGone = true;
  }
}

function newTeller(session: Session): Teller {
  return {
    ...{ session, host: nodeOfOwner(undefined, session), isGone: false, heard: [], batches: [] },
    ...{ processes: new Map(), spaces: new Map(), labels: new Map() },
    ...{ addresses: new Set(), names: new Map(), sockets: new Map() },
  };
}

function announce(
  teller: Teller,
  { processes, addressSpaces, labels, hostAddresses, namedAddresses }: Partial<Announce>,
): void {
  for (const process of processes ?? []) teller.processes.set(process.handle, nodeOfOwner(process, teller.session));
  for (const { handle, name } of addressSpaces ?? []) teller.spaces.set(handle, name);
  for (const { handle, text } of labels ?? []) teller.labels.set(handle, text);
  for (const { address, addressSpace } of hostAddresses ?? [])
    teller.addresses.add(placeOf(teller, addressSpace, address));
  for (const { address, addressSpace, label } of namedAddresses ?? [])
    teller.names.set(placeOf(teller, addressSpace, address), teller.labels.get(label) ?? '');
}

/** An address within its space. */
export function placeOf({ spaces }: Teller, space: number, address: Uint8Array): string {
  return `${spaces.get(space)} ${Buffer.from(address).toString('hex')}`;
}

function socketOf(teller: Teller, handle: number): End {
  const end = teller.sockets.get(handle);
  assert(end !== undefined, `handle ${handle} is not open`);
  return end;
}

type Increments = { [Field in keyof Totals]?: number };

/** What this channel told last, and what it told now beyond that. */
function sum(told: Totals, increments: Increments): Totals {
  const { bytesSent = 0, bytesReceived = 0, segmentsSent = 0, segmentsReceived = 0, retransmits = 0 } = increments;
  return {
    bytesSent: told.bytesSent + BigInt(bytesSent),
    bytesReceived: told.bytesReceived + BigInt(bytesReceived),
    segmentsSent: told.segmentsSent + BigInt(segmentsSent),
    segmentsReceived: told.segmentsReceived + BigInt(segmentsReceived),
    retransmits: told.retransmits + BigInt(retransmits),
    srttUs: increments.srttUs ?? 0,
    minRttUs: told.minRttUs,
  };
}
