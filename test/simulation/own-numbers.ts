/**
 * The ends' own numbers against what each end's kernel counted: an end that one life of its agent saw whole shows exactly its own bytes, whatever
 * happens to the reducer, the link and the other end; one that was watched in part, or folded, never more than it moved.
 */
import type { EdgeRow } from '../../host/export/edge-rows.ts';
import { type Interval, watchOfEnd } from './expectation.ts';
import type { Fleet } from './fleet.ts';
import type { Host, Socket } from './model-kernel.ts';

export const OWN_FIELDS = ['ownSent', 'ownReceived'] as const;
export type OwnSums = Record<(typeof OWN_FIELDS)[number], number>;
type OwnExpectation = Record<(typeof OWN_FIELDS)[number], Interval>;

/** Both ends together: of some connections nobody may know who is the client. */
export function addOwn(sums: OwnSums, { sums: row }: EdgeRow): void {
  sums.ownSent += row.clientBytesSent + row.serverBytesSent;
  sums.ownReceived += row.clientBytesReceived + row.serverBytesReceived;
}

/** By server port. */
export function expectOwn(fleet: Fleet): Map<number, OwnExpectation> {
  const ports = new Map<number, OwnExpectation>();
  for (const connection of fleet.kernel.connections) {
    const { client, server, clientSocket, serverSocket } = connection;
    const port = ports.get(server.port) ?? { ownSent: { least: 0, most: 0 }, ownReceived: { least: 0, most: 0 } };
    ports.set(server.port, port);
    const addEnd = (socket: Socket | undefined, host: Host | undefined): void => {
      const watch = watchOfEnd(fleet, connection, socket, host);
      if (socket === undefined || watch === 'none') return;
      const isExact = watch === 'whole' && fleet.scenario.closedRetained === 0;
      for (const [field, bytes] of [
        ['ownSent', socket.sent],
        ['ownReceived', socket.received],
      ] as const) {
        port[field].least += isExact ? bytes : 0;
        port[field].most += bytes;
      }
    };
    addEnd(clientSocket, client.host);
    addEnd(serverSocket, server.host);
  }
  return ports;
}
