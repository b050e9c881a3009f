// An agent as the miniature fleet sees it: it tells numbered windows, whose frames carry their own place in the channel.

import { AgentChannel } from '../agent-channel.ts';
import type { Payload } from '../channel-sender.ts';
import { encodeControl } from '../control.ts';
import { FrameKind } from '../gen/wire-layout.ts';

export const WINDOW_MS = 400;
export const FRAME_BYTES_MAX = 2_000;

export function windowOf(ms: number): number {
  return 1 + Math.floor(ms / WINDOW_MS);
}

export interface WindowAgentOptions {
  name: string;
  node: bigint;
  session: bigint;
  startMs: number;
  random: () => number;
}

export class WindowAgent {
  readonly name: string;
  readonly channel: AgentChannel;
  readonly #random: () => number;
  /** Windows up to this one existed before the agent. */
  readonly bornWindow: number;
  toldWindow: number;
  committedWindow: number;
  /** Since when it has been welcomed without a break. */
  openSinceMs = Infinity;
  /** Names the channel that a frame belongs to, and its place there. */
  #epoch = 0;
  #nextFrame = 0;

  constructor({ name, node, session, startMs, random }: WindowAgentOptions) {
    this.name = name;
    this.#random = random;
    this.bornWindow = windowOf(startMs) - 1;
    this.toldWindow = this.bornWindow;
    this.committedWindow = this.bornWindow;
    this.channel = new AgentChannel({
      identity: {
        ...{ peerRole: 0, nodeId: node, bootId: 1n, session, windowNs: BigInt(WINDOW_MS) * 1_000_000n },
        ...{ nodeName: name, scope: '', zone: '', addressSpace: 'default', agentVersion: '0' },
      },
      firstWindow: () => this.toldWindow + 1,
      random,
      zstd: random() < 0.5,
      frameBytesMax: FRAME_BYTES_MAX,
    });
  }

  /** All windows up to `window` that were not told. */
  tell(window: number, nowMs: number): Payload[] {
    const payloads: Payload[] = [];
    for (; this.toldWindow < window; this.toldWindow++) payloads.push(...this.#encode(this.toldWindow + 1, nowMs));
    return payloads;
  }

  /** Everything that is not committed, told anew on a new channel. */
  snapshot(nowMs: number): Payload[] {
    this.#epoch++;
    this.#nextFrame = 0;
    const payloads = [this.#dataFrame()];
    for (let window = this.committedWindow + 1; window <= this.toldWindow; window++)
      payloads.push(...this.#encode(window, nowMs));
    return payloads;
  }

  /** Some data frames and the end of the window. */
  #encode(window: number, nowMs: number): Payload[] {
    const payloads: Payload[] = [];
    const frames = Math.floor(this.#random() ** 3 * 8);
    for (let index = 0; index < frames; index++) payloads.push(this.#dataFrame());
    const loss = { eventsLost: 0n, socketsFolded: 0n, socketsRefused: 0n, windowsCoalesced: 0n, journalSkipped: 0n };
    const end = { window, fromWindow: window, agentTimeNs: BigInt(Math.round(nowMs)) * 1_000_000n, ...loss };
    const payload = encodeControl('WindowEnd', { ...end, processesUnnamed: 0n, socketsLive: 0, blindMs: 0 });
    return [...payloads, { kind: FrameKind.WindowEnd, payload }];
  }

  #dataFrame(): Payload {
    const payload = new Uint8Array(16 + 8 * Math.floor(this.#random() ** 2 * 200));
    new DataView(payload.buffer).setUint32(0, this.#epoch, true);
    new DataView(payload.buffer).setUint32(4, this.#nextFrame++, true);
    return { kind: FrameKind.Open, payload };
  }
}
