// Recordings of a fleet that never was: every agent talks to every other, connections live for some windows or within one, agents are
// killed and come back as a new session with a file of its own, and end with or without Goodbye.
import { join } from 'node:path';
import type { Payload } from '../../wire/channel-sender.ts';
import { encodeControl } from '../../wire/control.ts';
import {
  BaselineKind,
  FrameKind,
  GoodbyeReason,
  type Open,
  OpenFlags,
  type Totals,
} from '../../wire/gen/wire-layout.ts';
import { RecordingWriter } from '../../wire/recording.ts';
import {
  announce,
  baselines,
  closes,
  hello,
  onces,
  opens,
  ROLE_CLIENT,
  ROLE_SERVER,
  snapshotBegin,
  snapshotEnd,
  socket,
  totals,
  updates,
  windowEnd,
} from './told.ts';

const FIRST_WINDOW = 1_000;
const CLOSED = 1;
const ITEMS_PER_FRAME = 4_000;
const WINDOW_NS = 10_000_000_000n;

export interface FleetOptions {
  random: () => number;
  agents: number;
  windows: number;
  connectionsPerWindow: number;
}

export interface Truth {
  forwardBytes: number;
  reverseBytes: number;
  connections: number;
}

interface Connection {
  joinKey: bigint;
  client: number;
  server: number;
  clientPort: number;
  serverPort: number;
  opened: number;
  /** The window in which it closes. */
  closing: number;
  sent: number;
  received: number;
}

/** What one agent process told: a file. */
interface Session {
  session: bigint;
  firstWindow: number;
  snapshot: Payload[];
  windows: Payload[][];
}

interface Agent {
  index: number;
  address: string;
  nextHandle: number;
  handles: Map<Connection, number>;
  sessions: Session[];
}

/** Writes one file for each agent. The sums over all windows are those of `truth`. */
export async function recordFleet(folder: string, options: FleetOptions): Promise<{ paths: string[]; truth: Truth }> {
  const { random, agents: agentCount, windows, connectionsPerWindow } = options;
  const below = (limit: number): number => Math.floor(random() * limit);
  const agents: Agent[] = Array.from({ length: agentCount }, (_, index) => ({
    ...{ index, address: `10.0.0.${index + 1}`, nextHandle: 1, handles: new Map(), sessions: [] },
  }));
  const truth: Truth = { forwardBytes: 0, reverseBytes: 0, connections: 0 };
  let live: Connection[] = [];
  for (const agent of agents) startSession(agent, agents, live, 0);
  for (let window = 0; window < windows; window++) {
    for (const agent of agents) if (window > 0 && random() < 0.1) startSession(agent, agents, live, window);
    for (let count = 0; count < connectionsPerWindow; count++) {
      const [client, server] = [below(agentCount), below(agentCount)];
      if (client === server) continue;
      const joinKey = (BigInt(truth.connections + 1) * 0x9e37_79b9_7f4a_7c15n) & 0xffff_ffff_ffff_ffffn;
      const clientPort = 20_000 + truth.connections;
      truth.connections++;
      live.push({
        joinKey,
        client,
        server,
        clientPort,
        serverPort: 80 + below(3),
        opened: window,
        closing: window + below(4),
        sent: 0,
        received: 0,
      });
    }
    for (const connection of live) {
      const [sent, received] = [below(10_000), below(100_000)];
      connection.sent += sent;
      connection.received += received;
      truth.forwardBytes += sent;
      truth.reverseBytes += received;
    }
    for (const agent of agents) agent.sessions.at(-1)?.windows.push(tellWindow(agent, agents, live, window));
    live = live.filter((connection) => connection.closing > window);
  }
  const paths: string[] = [];
  for (const agent of agents)
    for (const session of agent.sessions) paths.push(await record(folder, agent, session, random() < 0.5));
  return { paths, truth };
}

/** A new process adopts the connections that it finds: their past is no traffic of its own. */
function startSession(agent: Agent, agents: readonly Agent[], live: readonly Connection[], window: number): void {
  const found: { open: Open; totals: Totals }[] = [];
  agent.handles.clear();
  for (const connection of live) {
    for (const role of [ROLE_CLIENT, ROLE_SERVER]) {
      if ((role === ROLE_CLIENT ? connection.client : connection.server) !== agent.index) continue;
      agent.handles.set(connection, agent.nextHandle);
      const open = { ...openOf(connection, role, agents, agent.nextHandle++), flags: OpenFlags.Existing };
      found.push({ open, totals: totalsOf(connection, role) });
    }
  }
  const comm = ['nginx', 'postgres', 'redis'][agent.index % 3];
  const adopted = found.map(({ open, totals }) => ({ handle: open.handle, kind: BaselineKind.Adopted, totals }));
  const sockets = [
    ...inFrames(
      found.map(({ open }) => open),
      opens,
    ),
    ...inFrames(adopted, baselines),
  ];
  const firstWindow = FIRST_WINDOW + window;
  agent.sessions.push({
    session: BigInt(agent.index * 1_000 + window + 1),
    firstWindow,
    snapshot: [snapshotBegin(firstWindow), ...announce(comm, agent.address), ...sockets, snapshotEnd(firstWindow)],
    windows: [],
  });
}

function totalsOf({ sent, received }: Connection, role: number): Totals {
  return role === ROLE_CLIENT ? totals(sent, received) : totals(received, sent);
}

function tellWindow(agent: Agent, agents: readonly Agent[], live: readonly Connection[], window: number): Payload[] {
  const told = {
    opens: [] as Open[],
    updates: [] as { handle: number; totals: Totals }[],
    closes: [] as Parameters<typeof closes>[0][number][],
    onces: [] as Parameters<typeof onces>[0][number][],
  };
  for (const connection of live) {
    for (const role of [ROLE_CLIENT, ROLE_SERVER]) {
      const isClient = role === ROLE_CLIENT;
      if ((isClient ? connection.client : connection.server) !== agent.index) continue;
      const ended = { reason: CLOSED, phase: 0, error: 0, endTimeNs: 1n };
      const now = isClient
        ? totals(connection.sent, connection.received)
        : totals(connection.received, connection.sent);
      const isClosing = connection.closing === window;
      if (connection.opened === window && isClosing) {
        told.onces.push({ open: openOf(connection, role, agents, 0), totals: now, ...ended, handshakeUs: 0 });
        continue;
      }
      if (connection.opened === window) {
        agent.handles.set(connection, agent.nextHandle);
        told.opens.push(openOf(connection, role, agents, agent.nextHandle++));
      }
      const handle = agent.handles.get(connection) ?? 0;
      if (isClosing) told.closes.push({ handle, totals: now, ...ended });
      else told.updates.push({ handle, totals: now });
    }
  }
  const payloads = [
    ...inFrames(told.opens, opens),
    ...inFrames(told.onces, onces),
    ...inFrames(told.updates, updates),
    ...inFrames(told.closes, closes),
  ];
  return [...payloads, windowEnd(FIRST_WINDOW + window)];
}

function inFrames<T>(values: readonly T[], encode: (part: readonly T[]) => Payload): Payload[] {
  const payloads: Payload[] = [];
  for (let at = 0; at < values.length; at += ITEMS_PER_FRAME)
    payloads.push(encode(values.slice(at, at + ITEMS_PER_FRAME)));
  return payloads;
}

function openOf(
  { joinKey, client, server, clientPort, serverPort }: Connection,
  role: number,
  agents: readonly Agent[],
  handle: number,
): Open {
  const isClient = role === ROLE_CLIENT;
  const [local, remote] = isClient ? [client, server] : [server, client];
  const [localPort, remotePort] = isClient ? [clientPort, serverPort] : [serverPort, clientPort];
  return socket({
    handle,
    joinKey,
    role,
    local: agents[local].address,
    localPort,
    remote: agents[remote].address,
    remotePort,
  });
}

async function record(folder: string, agent: Agent, told: Session, saysGoodbye: boolean): Promise<string> {
  const name = `agent-${agent.index}`;
  const { session, firstWindow, snapshot, windows } = told;
  const path = join(folder, `${name}-${session}.zst`);
  const writer = new RecordingWriter(path, hello(name, session, { firstWindow, windowNs: WINDOW_NS }));
  await writer.open();
  await writer.write(snapshot);
  for (const window of windows) await writer.write(window);
  // Who comes back as another process was killed before.
  const isLast = told === agent.sessions.at(-1);
  const goodbye = encodeControl('Goodbye', { reason: GoodbyeReason.Stopping });
  if (isLast && saysGoodbye) await writer.write([{ kind: FrameKind.Goodbye, payload: goodbye }]);
  await writer.close();
  return path;
}
