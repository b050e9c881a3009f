/**
 * Recordings through a reducer of their own, without a clock: every recording is a channel, windows close when all recordings have told
 * them, so the same files give the same bytes for any number of workers and any hash seed (docs/protocol.md, section 8).
 */
import { UsageError } from '../lib/usage-error.ts';
import type { ClosedWindow } from './closed-window.ts';
import { Engine, type EngineNews } from './engine.ts';
import { RecordingAgent } from './recording-agent.ts';
import { feedRecording } from './recording-feed.ts';
import { NO_TIME, ReplayLinks } from './replay-link.ts';
import type { WorkerReading } from './worker-pool.ts';

export interface ReplayOptions {
  workers: number;
  /** Seed of the tables' hashes; changes nothing that comes out. */
  hashSeed: bigint;
  /** Takes as long as the recording did, instead of as long as it needs. */
  isRealTime: boolean;
}

export interface ReplayReport {
  windows: number;
  readings: WorkerReading[];
}

/** Opens all files. Throws UsageError when one is no recording, or they cannot be replayed together. */
export async function openRecordings(paths: readonly string[]): Promise<RecordingAgent[]> {
  const agents: RecordingAgent[] = [];
  const bySession = new Map<bigint, string>();
  for (const path of paths) {
    const agent = await RecordingAgent.open(path);
    const { session, windowNs } = agent.hello;
    const twin = bySession.get(session);
    if (twin !== undefined)
      throw new UsageError('TRB_REPLAY', `${twin} and ${path} hold the same session: give one of them`);
    if (windowNs !== (agents[0] ?? agent).hello.windowNs) {
      throw new UsageError(
        'TRB_REPLAY',
        `${agents[0].path} and ${path} have windows of different length: replay them apart`,
      );
    }
    bySession.set(session, path);
    agents.push(agent);
  }
  return agents;
}

/** `closeWindow` gets each window once, in order. Throws when a recording is refused or a worker fails. */
export async function replay(
  agents: readonly RecordingAgent[],
  { workers, hashSeed, isRealTime }: ReplayOptions,
  closeWindow: (closed: ClosedWindow) => void,
): Promise<ReplayReport> {
  const [{ hello }] = agents;
  const firstWindow = Math.min(...agents.map((agent) => agent.hello.firstWindow));
  const incarnation = 1n;
  const failed = Promise.withResolvers<never>();
  const finished = Promise.withResolvers<void>();
  let windows = 0;
  const handle = (news: EngineNews): void => {
    if (news.kind === 'refused') failed.reject(new Error(`the session of ${news.hello.nodeName} was refused`));
    if (news.kind === 'closed') {
      windows++;
      closeWindow({ window: news.window, windowNs: Number(hello.windowNs), incarnation, outputs: news.outputs });
      engine.exported(news.window);
    }
    if (engine.coordinator.isFinished) finished.resolve();
  };
  const engine = new Engine(
    {
      ...{ workers, hashSeed, incarnation, windowNs: hello.windowNs, latenessNs: 0n },
      replay: {
        openWindow: firstWindow,
        sessions: new Map(agents.map(({ hello: each }) => [each.session, each.firstWindow])),
      },
    },
    {
      clock: () => NO_TIME,
      handle,
      relayed: (worker, message) => links.receive(worker, message),
      fail: (worker, error) => failed.reject(new Error(`worker ${worker}: ${error.message}`)),
    },
  );
  const links = new ReplayLinks(engine, workers);
  await engine.start();
  try {
    const pace = isRealTime ? realTime(firstWindow, hello.windowNs) : async () => {};
    const fed = Promise.all(inSuccession(agents).map((succession) => feedInSuccession(succession, links, pace)));
    await Promise.race([fed.then(() => finished.promise), failed.promise]);
    return { windows, readings: await engine.readCounters() };
  } finally {
    await engine.stop();
  }
}

/** The recordings of each agent, one process after the other. */
export function inSuccession(agents: readonly RecordingAgent[]): RecordingAgent[][] {
  const byIdentity = new Map<string, RecordingAgent[]>();
  for (const agent of agents) {
    const { nodeId, bootId, scope } = agent.hello;
    const identity = `${nodeId}/${bootId}/${scope}`;
    byIdentity.set(identity, [...(byIdentity.get(identity) ?? []), agent]);
  }
  const byFirstWindow = (a: RecordingAgent, b: RecordingAgent): number => a.hello.firstWindow - b.hello.firstWindow;
  return [...byIdentity.values()].map((recordings) => recordings.sort(byFirstWindow));
}

async function feedInSuccession(
  agents: readonly RecordingAgent[],
  links: ReplayLinks,
  pace: (window: number) => Promise<void>,
): Promise<void> {
  for (const [index, agent] of agents.entries()) {
    const next = agents.at(index + 1);
    const paceBefore = async (window: number): Promise<void> => {
      if (next !== undefined && window >= next.hello.firstWindow) {
        throw new UsageError(
          'TRB_REPLAY',
          `${agent.path} and ${next.path} are of one agent at the same time: give one of them`,
        );
      }
      await pace(window);
    };
    await feedRecording(agent, links.connect(agent), { shift: 0, pace: paceBefore });
  }
}

/** A window may be told when as much time has passed since now as between the first window and its end. */
export function realTime(firstWindow: number, windowNs: bigint): (window: number) => Promise<void> {
  const startMs = performance.now();
  const windowMs = Number(windowNs) / 1e6;
  return (window) => {
    const leftMs = startMs + (window + 1 - firstWindow) * windowMs - performance.now();
    return new Promise((resolve) => setTimeout(resolve, Math.max(0, leftMs)));
  };
}
