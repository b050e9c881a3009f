// Recordings of a fleet that never was: every agent talks to every other, connections live for some windows or within one, agents come
// late, leave early with or without Goodbye, and restart as a new session.
import { join } from 'node:path';
import type { Payload } from '../../wire/channel-sender.ts';
import { encodeControl } from '../../wire/control.ts';
import { FrameKind, GoodbyeReason, type Open, type Totals } from '../../wire/gen/wire-layout.ts';
import { RecordingWriter } from '../../wire/recording.ts';
import {
  announce,
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

interface Agent {
  index: number;
  address: string;
  nextHandle: number;
  handles: Map<Connection, number>;
  windows: Payload[][];
}

/** Writes one file for each agent. The sums over all windows are those of `truth`. */
export async function recordFleet(folder: string, options: FleetOptions): Promise<{ paths: string[]; truth: Truth }> {
  const { random, agents: agentCount, windows, connectionsPerWindow } = options;
  const below = (limit: number): number => Math.floor(random() * limit);
  const agents: Agent[] = Array.from({ length: agentCount }, (_, index) => ({
    ...{ index, address: `10.0.0.${index + 1}`, nextHandle: 1, handles: new Map(), windows: [] },
  }));
  const truth: Truth = { forwardBytes: 0, reverseBytes: 0, connections: 0 };
  let live: Connection[] = [];
  for (let window = 0; window < windows; window++) {
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
    for (const agent of agents) agent.windows.push(tellWindow(agent, agents, live, window));
    live = live.filter((connection) => connection.closing > window);
  }
  const paths = await Promise.all(agents.map((agent) => record(folder, agent, random() < 0.5)));
  return { paths, truth };
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
      const ended = { reason: CLOSED, error: 0, endTimeNs: 1n };
      const now = isClient
        ? totals(connection.sent, connection.received)
        : totals(connection.received, connection.sent);
      const isClosing = connection.closing === window;
      if (connection.opened === window && isClosing) {
        told.onces.push({ open: openOf(connection, role, agents, 0), totals: now, ...ended });
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
  const payloads: Payload[] = [];
  if (told.opens.length > 0) payloads.push(opens(told.opens));
  if (told.onces.length > 0) payloads.push(onces(told.onces));
  if (told.updates.length > 0) payloads.push(updates(told.updates));
  if (told.closes.length > 0) payloads.push(closes(told.closes));
  return [...payloads, windowEnd(FIRST_WINDOW + window)];
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

async function record(folder: string, agent: Agent, saysGoodbye: boolean): Promise<string> {
  const name = `agent-${agent.index}`;
  const path = join(folder, `${name}.zst`);
  const writer = new RecordingWriter(
    path,
    hello(name, BigInt(agent.index + 1), { firstWindow: FIRST_WINDOW, windowNs: WINDOW_NS }),
  );
  await writer.open();
  const comm = ['nginx', 'postgres', 'redis'][agent.index % 3];
  await writer.write([snapshotBegin(FIRST_WINDOW), ...announce(comm, agent.address), snapshotEnd(FIRST_WINDOW)]);
  for (const window of agent.windows) await writer.write(window);
  if (saysGoodbye)
    await writer.write([
      { kind: FrameKind.Goodbye, payload: encodeControl('Goodbye', { reason: GoodbyeReason.Stopping }) },
    ]);
  await writer.close();
  return path;
}
