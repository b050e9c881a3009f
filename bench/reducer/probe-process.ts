// An agent in a process of its own that sends one small frame after the other and times their receipts: for how long a reducer that takes,
// closes and exports what a fleet tells keeps another agent waiting.

import { startClock } from '../../host/lib/clock.ts';
import { snapshotBegin, snapshotEnd, windowEnd } from '../../host/reducer/testing/told.ts';
import { FrameKind, LOSS_SIZE, LossKind, writeLoss } from '../../host/wire/gen/wire-layout.ts';
import { encodeBatch } from '../../host/wire/struct-batch.ts';
import { AgentLink, type AgentNews } from '../../host/wire/transport/agent-link.ts';

export interface ProbeSettings {
  /** Of the reducer, on loopback. */
  port: number;
  windowMs: number;
  nodeId: number;
}

/** Told with the first Welcome, and when any message asks for it. */
export interface ProbeReport {
  /** From the sending of each frame to its receipt, ms. */
  delaysMs: number[];
  /** Connections that ended since the first Welcome; a frame that was under way waited for the next one. */
  lost: string[];
}

const TICK_MS = 1;

const settings = JSON.parse(process.argv[2]) as ProbeSettings;
const windowNs = BigInt(settings.windowMs) * 1_000_000n;
const clock = startClock();
const frame = { kind: FrameKind.Loss, payload: nothingLost() };
const report: ProbeReport = { delaysMs: [], lost: [] };
let nextWindow: number | undefined;
let sentMs: number | undefined;

const identity = {
  ...{ peerRole: 0, nodeId: BigInt(settings.nodeId), bootId: 1n, session: BigInt(settings.nodeId), windowNs },
  ...{ nodeName: 'probe', scope: '', zone: 'zone-0', addressSpace: 'default', agentVersion: 'bench' },
  ...{ findings: [], hooks: [] },
};
const channel = { identity, firstWindow: () => nextWindow ?? currentWindow(), random: () => Math.random() };
const options = { address: { host: '127.0.0.1', port: settings.port }, insecure: false, channel };
const link = new AgentLink(options, { clock, handle: heard });
link.start();
setInterval(tick, TICK_MS);
process.on('message', () => process.send?.(report));
process.on('disconnect', () => process.exit());

function nothingLost(): Uint8Array {
  const item = new Uint8Array(LOSS_SIZE);
  writeLoss(new DataView(item.buffer), 0, { kind: LossKind.None + 1, count: 0n });
  return encodeBatch(item, LOSS_SIZE);
}

function currentWindow(): number {
  return Number(clock().unixNs / windowNs);
}

function heard(news: AgentNews): void {
  if (news.kind === 'lost' && nextWindow !== undefined) report.lost.push(`the probe: ${news.reason} ${news.detail}`);
  if (news.kind !== 'welcome' || news.resume) return;
  if (nextWindow === undefined) process.send?.(report);
  nextWindow = currentWindow();
  link.offer([snapshotBegin(nextWindow), snapshotEnd(nextWindow)]);
}

/** One frame at a time, until all that was sent is received. */
function tick(): void {
  if (nextWindow === undefined) return;
  if (sentMs !== undefined && link.channel.keptBytes === 0) {
    report.delaysMs.push(performance.now() - sentMs);
    sentMs = undefined;
  }
  const window = currentWindow() - 1;
  if (window >= nextWindow) {
    link.offer([windowEnd(window, nextWindow)]);
    nextWindow = window + 1;
  }
  if (sentMs !== undefined || link.channel.keptBytes > 0) return;
  sentMs = performance.now();
  link.offer([frame]);
}
