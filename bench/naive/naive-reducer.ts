// What one would write first: a Map of sockets and a Map of flows, keyed by text, an object for each record, and at the end of a window every flow
// added to a Map for each level of the tree, keyed by text again. It counts bytes, packets, connections and what is active, and nothing else.

import { frameHeader, viewOf } from '../../host/wire/frame.ts';
import { Level } from '../../host/wire/gen/records-layout.ts';
import {
  CLOSE_SIZE,
  FRAME_HEADER_SIZE,
  FrameKind,
  ONCE_SIZE,
  OPEN_SIZE,
  type Open,
  readClose,
  readOnce,
  readOpen,
  readUpdateNarrow,
  type Totals,
  UPDATE_NARROW_SIZE,
} from '../../host/wire/gen/wire-layout.ts';
import { decodeAnnounce } from '../../host/wire/gen/wire-tables.ts';
import { batchItems } from '../../host/wire/struct-batch.ts';
import type { Input, InputWindow } from '../native/input.ts';

const CLIENT = 1;

/** A process on a host, by what each level calls it. */
interface Node {
  id: string;
  az: string;
  role: string;
}

interface End {
  node: Node;
  bytesSent: number;
  bytesReceived: number;
  packetsSent: number;
  packetsReceived: number;
  isClosed: boolean;
}

interface Flow {
  client: End | undefined;
  server: End | undefined;
  serverPort: number;
  booked: Sums;
  isCounted: boolean;
}

export interface Sums {
  bytes: number;
  packets: number;
  connections: number;
  active: number;
}

type EndLevel = keyof Node;
const LEVELS: readonly [Level, EndLevel, EndLevel][] = [
  [Level.IdId, 'id', 'id'],
  [Level.IdAz, 'id', 'az'],
  [Level.AzId, 'az', 'id'],
  [Level.AzAz, 'az', 'az'],
  [Level.RoleAz, 'role', 'az'],
  [Level.AzRole, 'az', 'role'],
  [Level.RoleRole, 'role', 'role'],
];

/** The rows of one window, by level. */
export type Tree = Map<Level, Map<string, Sums>>;

export class NaiveReducer {
  readonly #nodes = new Map<string, Node>();
  readonly #sockets = new Map<string, End>();
  readonly #flows = new Map<string, Flow>();

  /** `input`: announces the names, once. */
  constructor(input: Input) {
    for (let agent = 0; agent < input.agents; agent++) {
      for (const frame of input.announcement(agent)) {
        if (frameHeader(frame).kind !== FrameKind.Announce) continue;
        const { processes = [] } = decodeAnnounce(frame.subarray(FRAME_HEADER_SIZE)) ?? {};
        for (const { handle, comm } of processes) {
          const zone = input.zone(agent);
          this.#nodes.set(`${agent}/${handle}`, { id: `node-${agent}/${comm}`, az: `${comm}@${zone}`, role: comm });
        }
      }
    }
  }

  /** Runs a window to its end. */
  run({ agents }: InputWindow): Tree {
    for (const { agent, data } of agents) for (const frame of data) this.#frame(agent, frame);
    return this.#close();
  }

  #frame(agent: number, frame: Uint8Array): void {
    const payload = frame.subarray(FRAME_HEADER_SIZE);
    const view = viewOf(payload);
    switch (frameHeader(frame).kind) {
      case FrameKind.Open:
        for (const at of offsets(payload, OPEN_SIZE)) {
          const open = readOpen(view, at);
          this.#sockets.set(`${agent}/${open.handle}`, this.#join(agent, open));
        }
        return;
      case FrameKind.UpdateNarrow:
        for (const at of offsets(payload, UPDATE_NARROW_SIZE)) {
          const update = readUpdateNarrow(view, at);
          const end = this.#sockets.get(`${agent}/${update.handle}`);
          if (end === undefined) throw new Error(`agent ${agent} has no socket ${update.handle}`);
          end.bytesSent += update.bytesSent;
          end.bytesReceived += update.bytesReceived;
          end.packetsSent += update.segmentsSent;
          end.packetsReceived += update.segmentsReceived;
        }
        return;
      case FrameKind.Close:
        for (const at of offsets(payload, CLOSE_SIZE)) {
          const { handle, totals } = readClose(view, at);
          const key = `${agent}/${handle}`;
          const end = this.#sockets.get(key);
          if (end === undefined) throw new Error(`agent ${agent} has no socket ${handle}`);
          finish(end, totals);
          this.#sockets.delete(key);
        }
        return;
      case FrameKind.Once:
        for (const at of offsets(payload, ONCE_SIZE)) {
          const { open, totals } = readOnce(view, at);
          finish(this.#join(agent, open), totals);
        }
        return;
      default:
        throw new Error(`a frame of kind ${frameHeader(frame).kind}`);
    }
  }

  #join(agent: number, { joinKey, process, role, localPort, remotePort }: Open): End {
    const node = this.#nodes.get(`${agent}/${process}`);
    if (node === undefined) throw new Error(`agent ${agent} has no process ${process}`);
    const key = joinKey.toString(16);
    let flow = this.#flows.get(key);
    if (flow === undefined) {
      const serverPort = role === CLIENT ? remotePort : localPort;
      flow = { client: undefined, server: undefined, serverPort, booked: noSums(), isCounted: false };
      this.#flows.set(key, flow);
    }
    const end = { node, bytesSent: 0, bytesReceived: 0, packetsSent: 0, packetsReceived: 0, isClosed: false };
    if (role === CLIENT) flow.client = end;
    else flow.server = end;
    return end;
  }

  #close(): Tree {
    const tree: Tree = new Map(LEVELS.map(([level]) => [level, new Map()]));
    for (const [key, flow] of this.#flows) {
      const { client, server, serverPort } = flow;
      // Both ends are told in the same window here.
      if (client === undefined || server === undefined) throw new Error(`flow ${key} has one end`);
      const sums = bookFlow(flow, client, server);
      for (const [level, clientLevel, serverLevel] of LEVELS) {
        const row = `${client.node[clientLevel]}>${server.node[serverLevel]}:${serverPort}`;
        const rows = tree.get(level) as Map<string, Sums>;
        const known = rows.get(row);
        if (known === undefined) rows.set(row, { ...sums });
        else addSums(known, sums);
      }
      if (sums.active === 0) this.#flows.delete(key);
    }
    return tree;
  }
}

/** What is new since the last window: of each direction what the end says that saw more. */
function bookFlow(flow: Flow, client: End, server: End): Sums {
  const bytes = Math.max(client.bytesSent, server.bytesReceived) + Math.max(client.bytesReceived, server.bytesSent);
  const packets =
    Math.max(client.packetsSent, server.packetsReceived) + Math.max(client.packetsReceived, server.packetsSent);
  const sums = {
    bytes: bytes - flow.booked.bytes,
    packets: packets - flow.booked.packets,
    connections: flow.isCounted ? 0 : 1,
    active: client.isClosed || server.isClosed ? 0 : 1,
  };
  flow.booked.bytes = bytes;
  flow.booked.packets = packets;
  flow.isCounted = true;
  return sums;
}

function finish(end: End, totals: Totals): void {
  end.bytesSent = Number(totals.bytesSent);
  end.bytesReceived = Number(totals.bytesReceived);
  end.packetsSent = Number(totals.segmentsSent);
  end.packetsReceived = Number(totals.segmentsReceived);
  end.isClosed = true;
}

export function noSums(): Sums {
  return { bytes: 0, packets: 0, connections: 0, active: 0 };
}

export function addSums(sums: Sums, part: Sums): void {
  sums.bytes += part.bytes;
  sums.packets += part.packets;
  sums.connections += part.connections;
  sums.active += part.active;
}

function offsets(payload: Uint8Array, size: number): number[] {
  const items = batchItems(payload, size);
  if (items === undefined) throw new Error('a payload is no batch');
  return Array.from({ length: items.count }, (_, index) => items.offset + index * size);
}
