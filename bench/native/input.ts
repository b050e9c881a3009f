// What both sides read: windows of frames, made by the fleet of `reducer`, which is the same for the same options; and what was announced before.

import { snapshotBegin, snapshotEnd, windowEnd } from '../../host/reducer/testing/told.ts';
import type { Payload } from '../../host/wire/channel-sender.ts';
import { encodeFrame, viewOf } from '../../host/wire/frame.ts';
import { NODE_RECORD_SIZE, NodeKind, writeNodeRecord } from '../../host/wire/gen/records-layout.ts';
import { encodeHello } from '../../host/wire/gen/wire-tables.ts';
import { hello } from '../../host/wire/testing/hello.ts';
import { addressOf, Fleet, type FleetOptions, PROCESSES } from '../reducer/fleet.ts';

export const WINDOW_NS = 10_000_000_000n;
export const FIRST_WINDOW = 1_000;

/** What an agent tells in a window: everything, then its WindowEnd. */
export interface AgentFrames {
  agent: number;
  data: Uint8Array[];
  end: Uint8Array;
}

export interface InputWindow {
  window: number;
  agents: AgentFrames[];
  /** Updates, opens, closes and onces of both ends. */
  records: number;
}

export class Input {
  readonly agents: number;
  readonly #fleet: Fleet;
  readonly #seqs: Uint32Array;
  #next = FIRST_WINDOW;

  constructor(options: FleetOptions) {
    this.agents = options.agents;
    this.#fleet = new Fleet(options);
    this.#seqs = new Uint32Array(options.agents);
  }

  /** Where an agent runs. */
  zone(agent: number): string {
    return zoneOf(agent);
  }

  /** The payload that opens the session of an agent. */
  hello(agent: number): Uint8Array {
    const identity = { nodeId: BigInt(agent + 1), bootId: BigInt(agent + 1), session: BigInt(agent + 1) };
    const names = { nodeName: `node-${agent}`, zone: zoneOf(agent), addressSpace: 'default' };
    return encodeHello(hello({ ...identity, ...names, windowNs: WINDOW_NS, firstWindow: FIRST_WINDOW }));
  }

  /** Frames that announce its names, in a snapshot. */
  announcement(agent: number): Uint8Array[] {
    const payloads = [snapshotBegin(FIRST_WINDOW), ...this.#fleet.announce(agent), snapshotEnd(FIRST_WINDOW)];
    return payloads.map((payload) => this.#frame(agent, payload));
  }

  /** The same as the native side reads them: which node each process of each agent is, and who has which address (src/main.cpp). */
  names(): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let agent = 0; agent < this.agents; agent++) {
      parts.push(heads(agent, ADDRESS_OF_HOST), addressOf(agent));
      for (let process = 0; process < PROCESSES; process++) {
        parts.push(heads(agent, process + 1), nodeRecord(agent, this.#fleet.processName(agent, process)));
      }
    }
    return Buffer.concat(parts);
  }

  /** The first one opens all live sockets; each that follows is one of the mix. */
  nextWindow(): InputWindow {
    const window = this.#next++;
    const before = this.#recordsTold();
    const payloads = window === FIRST_WINDOW ? this.#fleet.open() : this.#fleet.round(window, window - 1);
    const agents = payloads.map((list, agent) => ({
      agent,
      data: list.map((payload) => this.#frame(agent, payload)),
      end: this.#frame(agent, windowEnd(window)),
    }));
    return { window, agents, records: this.#recordsTold() - before };
  }

  #recordsTold(): number {
    const { updates, opens, closes, onces } = this.#fleet.told;
    return updates + opens + closes + onces;
  }

  #frame(agent: number, { kind, payload }: Payload): Uint8Array {
    return encodeFrame({ kind, seq: ++this.#seqs[agent], payload });
  }
}

/** In place of a process: the address of the host follows. */
const ADDRESS_OF_HOST = 0xffff_ffff;

function heads(agent: number, process: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(agent, process).buffer);
}

/** A process that runs in no unit and no container is named by its host and its command. */
function nodeRecord(agent: number, comm: string): Uint8Array {
  const host = `node-${agent}`;
  const zone = zoneOf(agent);
  const text = Buffer.from(`${host}/${comm}${comm}${zone}${host}${comm}`);
  const record = new Uint8Array(Math.ceil((NODE_RECORD_SIZE + text.length) / 8) * 8);
  writeNodeRecord(viewOf(record), 0, {
    ...{ handle: 0, kind: NodeKind.Process, idBytes: host.length + 1 + comm.length, roleBytes: comm.length },
    ...{ zoneBytes: zone.length, hostBytes: host.length, addressBytes: 0, processBytes: comm.length },
    ...{ containerBytes: 0, containerNameBytes: 0, imageBytes: 0, podBytes: 0 },
  });
  record.set(text, NODE_RECORD_SIZE);
  return record;
}

function zoneOf(agent: number): string {
  return `zone-${agent % 3}`;
}
