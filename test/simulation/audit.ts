/**
 * Holds what the collector got against what the kernels know. Every connection has an interval of bytes and of counts that its export may
 * show; for nearly all of them it is a point. It is wider only where docs/protocol.md promises less (expectation.ts), and a port whose
 * batches were exported twice (repeats.ts) may show them twice.
 */
import type { EdgeRow } from '../../host/export/edge-rows.ts';
import type { Tally } from '../../host/export/tallies.ts';
import { TallyKind } from '../../host/wire/gen/wire-layout.ts';
import {
  addInterval,
  type Expectation,
  expectConnection,
  expectFailure,
  NOTHING,
  watchOfEnd,
  withoutDirection,
} from './expectation.ts';
import type { Fleet } from './fleet.ts';
import { addOwn, expectOwn, OWN_FIELDS, type OwnSums } from './own-numbers.ts';
import { findRepeats } from './repeats.ts';
import { auditWindows, RETURN_MS } from './windows.ts';

export interface Verdict {
  broken: string[];
  repeatedWindows: number;
}

const FIELDS = [
  'forwardBytes',
  'reverseBytes',
  'connections',
  'failures',
  'outOfOrder',
  'handshakes',
  'handshakeNs',
  'durations',
  'durationNs',
] as const;
type Field = (typeof FIELDS)[number];
type Sums = Record<Field, number> & OwnSums;

export function audit(fleet: Fleet): Verdict {
  const broken: string[] = [];
  const repeats = findRepeats(fleet, broken);
  const expected = expectPorts(fleet);
  const exported = new Map<number, Sums>();
  for (const { rows } of fleet.collector.batches) for (const row of rows.values()) addRow(fleet, exported, row);
  for (const [port, sums] of exported) {
    const expectation = expected.get(port);
    if (expectation === undefined) broken.push(`port ${port} was exported and never used: ${JSON.stringify(sums)}`);
  }
  for (const [port, expectation] of expected) {
    const sums = exported.get(port) ?? noSums();
    const { certain, possible } = repeats.ofPort(port);
    for (const field of FIELDS) {
      const least = expectation[field].least + certain[field];
      const most = expectation[field].most + certain[field] + possible[field];
      if (sums[field] >= least && sums[field] <= most) continue;
      const range = least === most ? `${least}` : `${least} to ${most}`;
      broken.push(`port ${port} ${field}: exported ${sums[field]}, true ${range}; ${expectation.story}`);
    }
  }
  for (const [port, expectation] of expectOwn(fleet)) {
    const sums = exported.get(port) ?? noSums();
    const { certain, possible } = repeats.ofPort(port);
    for (const field of OWN_FIELDS) {
      const { least, most } = expectation[field];
      if (sums[field] >= least && sums[field] <= most + certain[field] + possible[field]) continue;
      broken.push(
        `port ${port} ${field}: exported ${sums[field]}, true ${least} to ${most}; ${expected.get(port)?.story}`,
      );
    }
  }
  checkRows(fleet, broken);
  if (fleet.scenario.profile === 'calm') checkActive(fleet, broken);
  checkOrientation(fleet, broken);
  auditWindows(fleet, broken);
  return { broken, repeatedWindows: repeats.count };
}

export function noSums(): Sums {
  return Object.fromEntries([...FIELDS, ...OWN_FIELDS].map((field) => [field, 0])) as Sums;
}

export function addRow({ kernel }: Fleet, sums: Map<number, Sums>, row: EdgeRow): void {
  const oddPort = kernel.oddPorts.get(row.serverPort);
  const port = oddPort ?? row.serverPort;
  const sum = sums.get(port) ?? noSums();
  sums.set(port, sum);
  const { forwardBytes, reverseBytes, connections, refused, timedOut, abandoned, unreachable, failedOther } = row.sums;
  sum.forwardBytes += oddPort === undefined ? forwardBytes : forwardBytes + reverseBytes;
  sum.reverseBytes += oddPort === undefined ? reverseBytes : 0;
  sum.connections += connections;
  sum.failures += refused + timedOut + abandoned + unreachable + failedOther;
  addOwn(sum, row);
  for (const tally of row.tallies.values()) addTally(sum, tally);
}

function addTally(sum: Sums, tally: Tally): void {
  if (tally.kind === TallyKind.OutOfOrder) sum.outOfOrder += tally.count;
  if (tally.kind === TallyKind.HandshakeServer || tally.kind === TallyKind.HandshakeClient) {
    sum.handshakes += tally.count;
    sum.handshakeNs += tally.sum;
  }
  if (tally.kind === TallyKind.Duration) {
    sum.durations += tally.count;
    sum.durationNs += tally.sum;
  }
}

function expectPorts(fleet: Fleet): Map<number, Expectation> {
  const ports = new Map<number, Expectation>();
  const add = (port: number, one: Expectation): void => {
    ports.set(port, addInterval(ports.get(port) ?? NOTHING, one));
  };
  for (const connection of fleet.kernel.connections) {
    const expectation = expectConnection(fleet, connection);
    add(connection.server.port, connection.isOdd ? withoutDirection(expectation) : expectation);
  }
  for (const failed of fleet.kernel.failedConnects) add(failed.port, expectFailure(fleet, failed));
  return ports;
}

/** Nothing is open in the end, and ends that told everything agree. */
function checkRows(fleet: Fleet, broken: string[]): void {
  const active = new Map<string, EdgeRow>();
  const last = fleet.incarnations[fleet.incarnations.length - 1].id;
  for (const { incarnation, rows, firstWindow } of fleet.collector.batches) {
    for (const [key, row] of rows) {
      if (incarnation === last) active.set(key, row);
      if (row.sums.residualBytes !== 0)
        broken.push(`port ${row.serverPort}: residual ${row.sums.residualBytes} bytes in window ${firstWindow}`);
    }
  }
  for (const row of active.values())
    if (row.active !== 0) broken.push(`port ${row.serverPort}: ${row.active} active in the end`);
}

/** How far a window may lie from the kernel's time: clocks, ticks, a measured offset. */
const WINDOW_SLACK_MS = 1_500;

/** A connection is active as long as any of its ends is open. */
function checkActive(fleet: Fleet, broken: string[]): void {
  const [{ closedAt, startMs }] = fleet.incarnations;
  for (const { isOdd, server, openedMs, clientSocket, serverSocket } of fleet.kernel.connections) {
    const isAlone = fleet.kernel.connections.filter((other) => other.server.port === server.port).length === 1;
    if (isOdd || !isAlone || clientSocket === undefined || serverSocket === undefined) continue;
    const watches = [clientSocket, serverSocket].map((socket) =>
      watchOfEnd(fleet, socket.connection, socket, (socket === clientSocket ? socket.connection.client : server).host),
    );
    if (watches.some((watch) => watch !== 'whole')) continue;
    const closedMs = Math.max(clientSocket.closedMs, serverSocket.closedMs);
    for (const { firstWindow, rows } of fleet.collector.batches) {
      const endMs = closedAt.get(firstWindow)?.endMs ?? 0;
      // Windows that end before anybody is heard are closed without anybody.
      if (endMs < Math.max(openedMs + WINDOW_SLACK_MS, startMs + RETURN_MS) || endMs > closedMs - WINDOW_SLACK_MS)
        continue;
      const active = [...rows.values()].reduce(
        (sum, row) => sum + (row.serverPort === server.port ? row.active : 0),
        0,
      );
      if (active !== 1) broken.push(`port ${server.port}: ${active} active in window ${firstWindow}, an end is open`);
    }
  }
}

/** When the end that saw the handshake is there from the first, its word counts, whatever the other end thinks. */
function checkOrientation(fleet: Fleet, broken: string[]): void {
  for (const connection of fleet.kernel.connections) {
    if (!connection.isOdd) continue;
    const { client, server, clientSocket, serverSocket } = connection;
    const isSeen =
      watchOfEnd(fleet, connection, clientSocket, client.host) === 'whole' ||
      watchOfEnd(fleet, connection, serverSocket, server.host) === 'whole';
    const ports = [client.port, server.port];
    const rows = fleet.collector.batches.flatMap((batch) => [...batch.rows.values()]);
    const first = rows.find((row) => ports.includes(row.serverPort));
    if (isSeen && first !== undefined && first.sums.flowsBoth > 0 && first.serverPort === client.port)
      broken.push(`port ${server.port}: the client was taken for the server`);
  }
}
