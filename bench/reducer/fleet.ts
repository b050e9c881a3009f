// What a fleet of agents tells, made once and patched: the generator must cost less than what it measures.
//
// Half of the agents are clients and half are servers. Connection j has one end at each; every end moves by the same bytes in every report,
// so an agent's updates are the same bytes in every window, but for the handles of sockets that came since the last.

import type { Payload } from '../../host/wire/channel-sender.ts';
import { viewOf } from '../../host/wire/frame.ts';
import {
  CLOSE_SIZE,
  FrameKind,
  ONCE_OFFSET,
  ONCE_SIZE,
  OPEN_OFFSET,
  OPEN_SIZE,
  type Open,
  UPDATE_NARROW_SIZE,
  writeClose,
  writeOnce,
  writeOpen,
  writeUpdateNarrow,
} from '../../host/wire/gen/wire-layout.ts';
import { encodeAnnounce } from '../../host/wire/gen/wire-tables.ts';
import { BATCH_PREFIX_BYTES, encodeBatch } from '../../host/wire/struct-batch.ts';

export type Mix = 'steady' | 'short' | 'drain';
export type Spread = 'uniform' | 'zipf';

export interface FleetOptions {
  mix: Mix;
  /** Live sockets, two for each connection; of `short` those that come and go in each window. */
  sockets: number;
  agents: number;
  /** Reports of each live socket in a window. */
  updates: number;
  /** Share of the live connections that end in a window, each with another in its place. */
  churn: number;
  /** How connections are spread over servers. */
  spread: Spread;
}

/** What was told since the start; of connections, not of ends. */
export interface Told {
  forwardBytes: number;
  reverseBytes: number;
  connections: number;
  /** Records: updates, opens, closes, onces of both ends. */
  updates: number;
  opens: number;
  closes: number;
  onces: number;
}

/** A frame of an agent is 64 KiB at most. */
const FRAME_BYTES = 65_536 - 16 - BATCH_PREFIX_BYTES;
export const PROCESSES = 8;
const ROLES = 64;
const CLIENT = 1;
const SERVER = 2;
const ROLE_SOURCE_KERNEL = 4;
const CLOSE_REASON_FIN = 1;
const TCP = 6;
const SPACE = 1;

/** 32-bit finalizer of MurmurHash3, a bijection. */
function mix32(value: number): number {
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Batches of one kind of struct, as many in one as a frame holds. */
class Batches {
  readonly payloads: Payload[] = [];
  readonly #views: DataView[] = [];
  readonly #size: number;
  readonly #perFrame: number;

  constructor(kind: number, size: number, count: number) {
    this.#size = size;
    this.#perFrame = Math.floor(FRAME_BYTES / size);
    for (let left = count; left > 0; left -= this.#perFrame) {
      const payload = encodeBatch(new Uint8Array(size * Math.min(left, this.#perFrame)), size);
      this.payloads.push({ kind, payload });
      this.#views.push(viewOf(payload));
    }
  }

  /** Where item `index` lies. */
  view(index: number): DataView {
    return this.#views[Math.floor(index / this.#perFrame)];
  }

  offset(index: number): number {
    return BATCH_PREFIX_BYTES + (index % this.#perFrame) * this.#size;
  }
}

interface Agent {
  index: number;
  role: number;
  /** Its connections, by slot. */
  connections: number[];
  /** Of each slot. */
  handles: Uint32Array;
  updates: Batches;
  onces: Batches;
  nextHandle: number;
  /** Handles of closed sockets, in the order of the windows in which they closed. */
  freed: { handle: number; window: number }[];
}

export class Fleet {
  readonly told: Told = {
    forwardBytes: 0,
    reverseBytes: 0,
    connections: 0,
    updates: 0,
    opens: 0,
    closes: 0,
    onces: 0,
  };
  /** Different pairs of processes with a connection, each of which is a row of its own to the reducer. */
  readonly edges: number;
  readonly #options: FleetOptions;
  readonly #agents: Agent[] = [];
  readonly #connections: number;
  readonly #client: Uint32Array;
  readonly #server: Uint32Array;
  /** Slot of each connection's end at its client and its server. */
  readonly #slots: [Uint32Array, Uint32Array];
  /** Reports since the connection in this place opened, and how many were before it. */
  readonly #reports: Uint32Array;
  readonly #generations: Uint32Array;
  #cursor = 0;
  #round = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#connections = options.sockets / 2;
    this.#client = new Uint32Array(this.#connections);
    this.#server = new Uint32Array(this.#connections);
    this.#slots = [new Uint32Array(this.#connections), new Uint32Array(this.#connections)];
    this.#reports = new Uint32Array(this.#connections);
    this.#generations = new Uint32Array(this.#connections);
    const lists: number[][] = Array.from({ length: options.agents }, () => []);
    const half = options.agents / 2;
    const pickServer = serverPicker(half, options.spread);
    for (let j = 0; j < this.#connections; j++) {
      const ends = [j % half, half + pickServer(j)];
      [this.#client[j], this.#server[j]] = ends;
      for (const [side, agent] of ends.entries()) this.#slots[side][j] = lists[agent].push(j) - 1;
    }
    this.edges = this.#countEdges();
    const isShort = options.mix === 'short';
    for (const [index, connections] of lists.entries()) {
      const agent: Agent = {
        ...{ index, role: index < half ? CLIENT : SERVER, connections, nextHandle: connections.length + 1, freed: [] },
        handles: Uint32Array.from(connections, (_, slot) => slot + 1),
        updates: new Batches(FrameKind.UpdateNarrow, UPDATE_NARROW_SIZE, isShort ? 0 : connections.length),
        onces: new Batches(FrameKind.Once, ONCE_SIZE, isShort ? connections.length : 0),
      };
      this.#agents.push(agent);
      if (isShort) this.#writeOnces(agent);
      else this.#writeUpdates(agent);
    }
  }

  /** Names, in the snapshot. */
  announce(index: number): Payload[] {
    const processes = Array.from({ length: PROCESSES }, (_, process) => {
      const comm = this.processName(index, process);
      return {
        ...{ handle: process + 1, pid: 100 + process, uid: 0, startTimeNs: 1n, comm, executable: `/usr/bin/${comm}` },
        ...{ unit: '', containerId: '', containerRuntime: '', cgroup: '/' },
      };
    });
    const names = encodeAnnounce({ processes, addressSpaces: [{ handle: SPACE, name: 'default' }] });
    const addresses = encodeAnnounce({ hostAddresses: [{ address: addressOf(index), addressSpace: SPACE }] });
    return [names, addresses].map((payload) => ({ kind: FrameKind.Announce, payload }));
  }

  /** Of the `process`-th of an agent, from 0. */
  processName(index: number, process: number): string {
    return `${index < this.#options.agents / 2 ? 'client' : 'server'}-${(index * PROCESSES + process) % ROLES}`;
  }

  #countEdges(): number {
    const processes = this.#options.agents * PROCESSES;
    const edges = new Set<number>();
    for (let j = 0; j < this.#connections; j++) {
      const client = this.#client[j] * PROCESSES + processOf(j, CLIENT);
      const server = this.#server[j] * PROCESSES + processOf(j, SERVER);
      edges.add(client * processes + server);
    }
    return edges.size;
  }

  /** All live sockets open, for each agent; nothing for `short`. */
  open(): Payload[][] {
    if (this.#options.mix === 'short') return this.#agents.map(() => []);
    this.told.connections += this.#connections;
    return this.#agents.map((agent) => {
      const opens = new Batches(FrameKind.Open, OPEN_SIZE, agent.connections.length);
      for (const [slot, j] of agent.connections.entries())
        writeOpen(opens.view(slot), opens.offset(slot), this.#openOf(agent, j, agent.handles[slot]));
      this.told.opens += agent.connections.length;
      return opens.payloads;
    });
  }

  /** What each agent tells of `window`. Handles of sockets that closed are used again after `committedWindow`. */
  round(window: number, committedWindow: number): Payload[][] {
    this.#round++;
    return this.#options.mix === 'short' ? this.#shortRound() : this.#liveRound(window, committedWindow);
  }

  #liveRound(window: number, committedWindow: number): Payload[][] {
    const { churn, updates } = this.#options;
    const churned = Math.round(this.#connections * churn);
    const opens: [number, number][][] = this.#agents.map(() => []);
    const closes: [number, number][][] = this.#agents.map(() => []);
    for (let index = 0; index < churned; index++) {
      const j = (this.#cursor + index) % this.#connections;
      for (const [side, agent] of [this.#agents[this.#client[j]], this.#agents[this.#server[j]]].entries()) {
        const slot = this.#slots[side][j];
        closes[agent.index].push([j, agent.handles[slot]]);
        agent.freed.push({ handle: agent.handles[slot], window });
        const isFree = agent.freed[0].window <= committedWindow;
        const handle = isFree ? (agent.freed.shift()?.handle ?? 0) : agent.nextHandle++;
        agent.handles[slot] = handle;
        agent.updates.view(slot).setUint32(agent.updates.offset(slot), handle, true);
        opens[agent.index].push([j, handle]);
      }
    }
    const closing = closes.map((list, index) => this.#closes(this.#agents[index], list));
    for (let index = 0; index < churned; index++) {
      const j = (this.#cursor + index) % this.#connections;
      this.#addBytes(j, updates);
      this.#reports[j] = 0;
      this.#generations[j]++;
    }
    this.#cursor = (this.#cursor + churned) % Math.max(1, this.#connections);
    this.told.connections += churned;
    const opening = opens.map((list, index) => this.#opens(this.#agents[index], list));
    for (let j = 0; j < this.#connections; j++) {
      this.#reports[j] += updates;
      this.#addBytes(j, updates);
    }
    this.told.updates += this.#connections * 2 * updates;
    return this.#agents.map((agent, index) => [
      ...opening[index],
      ...Array.from({ length: updates }, () => agent.updates.payloads).flat(),
      ...closing[index],
    ]);
  }

  #opens(agent: Agent, list: readonly [number, number][]): Payload[] {
    const batches = new Batches(FrameKind.Open, OPEN_SIZE, list.length);
    for (const [index, [j, handle]] of list.entries())
      writeOpen(batches.view(index), batches.offset(index), this.#openOf(agent, j, handle));
    this.told.opens += list.length;
    return batches.payloads;
  }

  /** The last report of a socket that closes is in its totals. */
  #closes(agent: Agent, list: readonly [number, number][]): Payload[] {
    const batches = new Batches(FrameKind.Close, CLOSE_SIZE, list.length);
    for (const [index, [j, handle]] of list.entries())
      writeClose(batches.view(index), batches.offset(index), {
        ...{ handle, reason: CLOSE_REASON_FIN, phase: 0, error: 0, endTimeNs: 2n },
        totals: totalsOf(agent.role, j, this.#reports[j] + this.#options.updates),
      });
    this.told.closes += list.length;
    return batches.payloads;
  }

  #shortRound(): Payload[][] {
    for (const agent of this.#agents) {
      for (let slot = 0; slot < agent.connections.length; slot++) {
        const view = agent.onces.view(slot);
        const offset = agent.onces.offset(slot) + ONCE_OFFSET.open;
        const j = agent.connections[slot];
        view.setUint32(offset + OPEN_OFFSET.joinKey, keyLow(j, this.#round), true);
        view.setUint32(offset + OPEN_OFFSET.cookie + 4, this.#round, true);
      }
      this.told.onces += agent.connections.length;
    }
    for (let j = 0; j < this.#connections; j++) this.#addBytes(j, 1);
    this.told.connections += this.#connections;
    return this.#agents.map((agent) => agent.onces.payloads);
  }

  #addBytes(j: number, reports: number): void {
    this.told.forwardBytes += forwardBytes(j) * reports;
    this.told.reverseBytes += reverseBytes(j) * reports;
  }

  #writeUpdates({ connections, updates, role }: Agent): void {
    for (const [slot, j] of connections.entries()) {
      const [bytesSent, bytesReceived] =
        role === CLIENT ? [forwardBytes(j), reverseBytes(j)] : [reverseBytes(j), forwardBytes(j)];
      writeUpdateNarrow(updates.view(slot), updates.offset(slot), {
        ...{ handle: slot + 1, bytesSent, bytesReceived, srttUs: 200 + (j % 1_000) },
        ...{ segmentsSent: 2, segmentsReceived: 2, retransmits: 0 },
      });
    }
  }

  #writeOnces(agent: Agent): void {
    for (const [slot, j] of agent.connections.entries())
      writeOnce(agent.onces.view(slot), agent.onces.offset(slot), {
        open: this.#openOf(agent, j, 0),
        totals: totalsOf(agent.role, j, 1),
        ...{ endTimeNs: 2n, reason: CLOSE_REASON_FIN, phase: 0, error: 0, handshakeUs: 0 },
      });
  }

  #openOf({ role }: Agent, j: number, handle: number): Open {
    const isClient = role === CLIENT;
    const [client, server] = [addressOf(this.#client[j]), addressOf(this.#server[j])];
    const clientPort = 1_024 + (j % 60_000);
    const generation = this.#generations[j];
    return {
      ...{ handle, process: 1 + processOf(j, role), startTimeNs: 1n, addressSpace: SPACE, flags: 0 },
      joinKey: (BigInt(mix32(j + 1)) << 32n) | BigInt(keyLow(j, generation)),
      cookie: (BigInt(generation) << 32n) | BigInt(j * 2 + (isClient ? 0 : 1)),
      ...(isClient ? { localAddress: client, remoteAddress: server } : { localAddress: server, remoteAddress: client }),
      ...(isClient ? { localPort: clientPort, remotePort: 443 } : { localPort: 443, remotePort: clientPort }),
      ...{ role, roleSource: ROLE_SOURCE_KERNEL, protocol: TCP, ipVersion: 4 },
    };
  }
}

/** Of one end of connection `j`, from 0. */
function processOf(j: number, role: number): number {
  return mix32(j + role) % PROCESSES;
}

function forwardBytes(j: number): number {
  return 100 + (j % 900);
}

function reverseBytes(j: number): number {
  return 1_000 + (j % 9_000);
}

/** The half of the join key that differs between the connections of one place, and with it between most places. */
function keyLow(j: number, generation: number): number {
  return mix32(Math.imul(generation + 1, 0x9e37_79b9) ^ j);
}

function totalsOf(role: number, j: number, reports: number) {
  const [forward, reverse] = [BigInt(forwardBytes(j) * reports), BigInt(reverseBytes(j) * reports)];
  const segments = BigInt(2 * reports);
  return {
    bytesSent: role === CLIENT ? forward : reverse,
    bytesReceived: role === CLIENT ? reverse : forward,
    ...{
      segmentsSent: segments,
      segmentsReceived: segments,
      retransmits: 0n,
      srttUs: 200 + (j % 1_000),
      minRttUs: 150,
    },
  };
}

export function addressOf(agent: number): Uint8Array {
  const host = [10, agent >> 8, agent & 0xff, 1];
  return Uint8Array.from([...new Array(10).fill(0), 0xff, 0xff, ...host]);
}

/** Which of `count` servers a connection has; Zipf with exponent 1. */
function serverPicker(count: number, spread: Spread): (j: number) => number {
  if (spread === 'uniform') return (j) => mix32(j ^ 0x5bd1e995) % count;
  const bounds = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) bounds[rank] = sum += 1 / (rank + 1);
  return (j) => {
    const at = (mix32(j ^ 0x5bd1e995) / 2 ** 32) * sum;
    return bounds.findIndex((bound) => at < bound);
  };
}
