// What the edges of one server port add up to. The agents end their windows some milliseconds apart, on a busy machine more: an end that is told a
// window before the other stands until then on an edge of its own, which has the other end's address for a name, and the window counts as
// seen from one end. So tests look at sums over the edges of a port, and at the one edge on which both ends were seen.
import assert from 'node:assert/strict';
import type { Edge, EdgesAnswer } from '../../host/api/edge-answer.ts';

export function atPort({ edges }: EdgesAnswer, ...ports: number[]): Edge[] {
  return edges.filter(({ serverPort }) => serverPort !== null && ports.includes(serverPort));
}

export function sumOf(edges: readonly Edge[], value: (edge: Edge) => number): number {
  return edges.reduce((total, edge) => total + value(edge), 0);
}

export interface EdgeSums {
  /** Bytes. */
  forward: number;
  reverse: number;
  residualBytes: number;
  judgedBytes: number;
  /** Segments that the client and the server sent again. */
  forwardRetransmits: number;
  connections: number;
  closed: number;
  active: number;
  refused: number;
  /** Windows, by the ends that saw a flow in them. */
  both: number;
  client: number;
  server: number;
}

export function sumsOf(edges: readonly Edge[]): EdgeSums {
  return {
    forward: sumOf(edges, ({ bytes }) => bytes.forward),
    reverse: sumOf(edges, ({ bytes }) => bytes.reverse),
    residualBytes: sumOf(edges, (edge) => edge.residualBytes),
    judgedBytes: sumOf(edges, (edge) => edge.judgedBytes),
    forwardRetransmits: sumOf(edges, ({ retransmits }) => retransmits.forward),
    connections: sumOf(edges, (edge) => edge.connections),
    closed: sumOf(edges, (edge) => edge.closed),
    active: sumOf(edges, (edge) => edge.active),
    refused: sumOf(edges, ({ failures }) => failures.refused),
    both: sumOf(edges, ({ match }) => match.both),
    client: sumOf(edges, ({ match }) => match.client),
    server: sumOf(edges, ({ match }) => match.server),
  };
}

/**
 * For `untilEdges`: the edges of the port once both ends of `count` connections have told their close. Then all of them is booked, and each was
 * seen from both ends in the window of the later close.
 */
export function closedAtBothEnds(port: number, count: number): (answer: EdgesAnswer) => Edge[] | undefined {
  return (answer) => {
    const edges = atPort(answer, port);
    const { closed, active, both } = sumsOf(edges);
    return closed >= count && active === 0 && both >= count ? edges : undefined;
  };
}

/** The one edge on which both ends were seen. */
export function joinedEdge(edges: readonly Edge[]): Edge {
  const joined = edges.filter(({ match }) => match.both > 0);
  assert.equal(joined.length, 1, `one joined edge, not ${JSON.stringify(edges)}`);
  return joined[0];
}

/** Within 0.1 % of the truth. */
export function assertNear(actual: number, truth: number, what: string): void {
  assert.ok(Math.abs(actual - truth) <= truth * 0.001, `${what}: ${actual} differs from ${truth} by more than 0.1 %`);
}
