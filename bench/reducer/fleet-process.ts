// The agents of a fleet as a process of its own: each has its connection and speaks the protocol by the product's own channel. The parent
// says what to do and is told when that is committed; meanwhile the agents tell empty windows.

import { startClock } from '../../host/lib/clock.ts';
import { snapshotBegin, snapshotEnd } from '../../host/reducer/testing/told.ts';
import type { Payload } from '../../host/wire/channel-sender.ts';
import { encodeControl } from '../../host/wire/control.ts';
import { FrameKind } from '../../host/wire/gen/wire-layout.ts';
import { AgentLink, type AgentNews } from '../../host/wire/transport/agent-link.ts';
import { Fleet, type FleetOptions, type Told } from './fleet.ts';

export interface FleetSettings extends FleetOptions {
  /** Of the reducer, on loopback. */
  port: number;
  windowMs: number;
}

/** `rest`: a window in which nothing moves; `open`: one in which the live sockets open; `rounds`: windows in which everything moves. */
export type FleetOrder = { kind: 'rest' } | { kind: 'open' } | { kind: 'rounds'; count: number } | { kind: 'stop' };

export interface FleetReport {
  told: Told;
  edges: number;
  frames: number;
  bytes: number;
  /** Windows that could not be told on their own, since the one before was still under way; connections that ended. */
  coalesced: number;
  lost: string[];
  /** Of the rounds: from the end of a window to the receipt of everything told of it, for each agent; to its commit, for each window. ms. */
  receiptMs: number[];
  commitMs: number[];
}

const TICK_MS = 5;

const settings = JSON.parse(process.argv[2]) as FleetSettings;
const windowNs = BigInt(settings.windowMs) * 1_000_000n;
const clock = startClock();
const fleet = new Fleet(settings);
const links: AgentLink[] = [];
const committed = new Array<number>(settings.agents).fill(0);
const isWelcome = new Array<boolean>(settings.agents).fill(false);
let nextWindow: number | undefined;
let order: FleetOrder | undefined;
let roundsLeft = 0;
/** The last window of an order, whose commit ends it. */
let awaited: number | undefined;
let endedMs = 0;
const report: FleetReport = {
  ...{ told: fleet.told, edges: fleet.edges, frames: 0, bytes: 0, coalesced: 0, lost: [], receiptMs: [], commitMs: [] },
};

for (let index = 0; index < settings.agents; index++) {
  const identity = {
    ...{ peerRole: 0, nodeId: BigInt(index + 1), bootId: BigInt(index + 1), session: BigInt(index + 1), windowNs },
    ...{ nodeName: `node-${index}`, scope: '', zone: `zone-${index % 3}`, addressSpace: 'default' },
    ...{ agentVersion: 'bench', findings: [], hooks: [] },
  };
  const channel = { identity, firstWindow: () => nextWindow ?? currentWindow(), random: () => Math.random() };
  const options = { address: { host: '127.0.0.1', port: settings.port }, insecure: false, channel };
  links.push(new AgentLink(options, { clock, handle: (news) => heard(index, news) }));
}
for (const link of links) link.start();
const ticker = setInterval(tick, TICK_MS);
process.on('message', (message: FleetOrder) => {
  if (message.kind === 'stop') void stop();
  else order = message;
});
process.on('disconnect', () => process.exit(1));

function currentWindow(): number {
  return Number(clock().unixNs / windowNs);
}

function heard(index: number, news: AgentNews): void {
  switch (news.kind) {
    case 'welcome': {
      isWelcome[index] = true;
      if (news.resume) return;
      const window = currentWindow();
      offer(index, [snapshotBegin(window), ...fleet.announce(index), snapshotEnd(window)]);
      return;
    }
    case 'clock':
      // The receipt of a WindowEnd, or Welcome.
      if (awaited !== undefined && order?.kind === 'rounds') report.receiptMs.push(performance.now() - endedMs);
      return;
    case 'commit':
      committed[index] = news.window;
      return;
    case 'lost':
      // Until all are welcome nothing has been told that could be lost.
      if (nextWindow !== undefined) report.lost.push(`${news.reason} ${news.detail}`);
  }
}

function offer(index: number, payloads: Payload[]): void {
  report.frames += payloads.length;
  for (const { payload } of payloads) report.bytes += payload.length + 16;
  links[index].offer(payloads);
}

function leastCommitted(): number {
  return Math.min(...committed);
}

function tick(): void {
  if (!isWelcome.every(Boolean)) return;
  nextWindow ??= currentWindow();
  finishOrder();
  const window = currentWindow() - 1;
  if (window < nextWindow || !links.every(({ channel }) => channel.canOffer)) return;
  report.coalesced += window - nextWindow;
  tellWindow(nextWindow, window);
  nextWindow = window + 1;
}

function tellWindow(fromWindow: number, window: number): void {
  endedMs = performance.now();
  const moved = moves(window);
  for (let index = 0; index < links.length; index++) {
    const counters = {
      eventsLost: 0n,
      socketsFolded: 0n,
      socketsRefused: 0n,
      windowsCoalesced: 0n,
      journalSkipped: 0n,
    };
    const payload = encodeControl('WindowEnd', {
      ...{
        window,
        fromWindow,
        agentTimeNs: clock().unixNs,
        ...counters,
        processesUnnamed: 0n,
        socketsLive: 0,
        blindMs: 0,
      },
    });
    offer(index, [...(moved?.[index] ?? []), { kind: FrameKind.WindowEnd, payload }]);
  }
}

function moves(window: number): Payload[][] | undefined {
  if (order === undefined || (awaited !== undefined && roundsLeft === 0)) return undefined;
  if (order.kind === 'open') {
    awaited = window;
    return fleet.open();
  }
  if (order.kind === 'rest') {
    awaited = window;
    return undefined;
  }
  if (order.kind !== 'rounds') return undefined;
  if (awaited === undefined) roundsLeft = order.count;
  awaited = window;
  roundsLeft--;
  return fleet.round(window, leastCommitted());
}

let commitSeen = 0;

function finishOrder(): void {
  if (awaited === undefined) return;
  const least = leastCommitted();
  if (order?.kind === 'rounds' && least > commitSeen && least === awaited)
    report.commitMs.push(performance.now() - endedMs);
  commitSeen = least;
  if (roundsLeft > 0 || least < awaited) return;
  order = undefined;
  awaited = undefined;
  process.send?.(report);
  report.receiptMs = [];
  report.commitMs = [];
}

async function stop(): Promise<void> {
  clearInterval(ticker);
  await Promise.all(links.map((link) => link.stop()));
  process.exit(0);
}
