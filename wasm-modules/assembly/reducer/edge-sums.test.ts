// Flows of one edge that cross to another worker together. What each of them is, one worker alone says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Level, RecordKind } from '../../../host/wire/gen/records-layout.ts';
import { close, closeFrame, openFrame, totals, wideFrame } from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
/** More than there are places of sums, so that edges share them. */
const EDGES = 2_500;
const FIRST_PORT = 10_000;
/** More than one sum holds. */
const FLOWS_OF_FIRST = 100;

interface Connection {
  handle: number;
  port: number;
}

/** Two of each edge, one after the other only by chance, and many of the first. */
const CONNECTIONS: Connection[] = [
  ...Array.from({ length: 2 * EDGES }, (_, index) => FIRST_PORT + ((index * 7) % EDGES)),
  ...new Array<number>(FLOWS_OF_FIRST - 2).fill(FIRST_PORT),
].map((port, index) => ({ handle: index + 1, port }));

const bytesOf = ({ handle }: Connection): bigint => BigInt(1_000 + handle);
/** Every seventh has no sample. */
const rttOf = ({ handle }: Connection): number => (handle % 7 === 0 ? 0 : 100 + (handle % 50));

function* inParts(all: readonly Connection[]): Generator<readonly Connection[]> {
  for (let first = 0; first < all.length; first += 200) yield all.slice(first, first + 200);
}

class Fleet {
  readonly #hosts: TwoHosts;
  readonly #client;
  readonly #server;

  constructor(workers: number) {
    this.#hosts = new TwoHosts(MODULE, undefined, { workers });
    this.#client = this.#hosts.agent(1, 'curl');
    this.#server = this.#hosts.agent(2, 'nginx');
  }

  open(): void {
    for (const part of inParts(CONNECTIONS)) {
      const own = ({ handle }: Connection) => ({ handle, joinKey: BigInt(handle), cookie: BigInt(handle) });
      this.#hosts.say(this.#client, openFrame(part.map((each) => clientEnd({ ...own(each), remotePort: each.port }))));
      this.#hosts.say(this.#server, openFrame(part.map((each) => serverEnd({ ...own(each), localPort: each.port }))));
    }
  }

  /** Each has sent `times` as many bytes by now. */
  tell(times: bigint, all: readonly Connection[] = CONNECTIONS): void {
    for (const part of inParts(all)) {
      const client = part.map((each) => {
        const sent = { bytesSent: times * bytesOf(each), segmentsSent: times };
        return { handle: each.handle, totals: totals({ ...sent, srttUs: rttOf(each) }) };
      });
      const server = part.map((each) => {
        const received = { bytesReceived: times * bytesOf(each), segmentsReceived: times };
        return { handle: each.handle, totals: totals(received) };
      });
      this.#hosts.say(this.#client, wideFrame(client));
      this.#hosts.say(this.#server, wideFrame(server));
    }
  }

  closeClients(times: bigint, all: readonly Connection[]): void {
    for (const part of inParts(all)) {
      const sent = (each: Connection) => totals({ bytesSent: times * bytesOf(each), segmentsSent: times });
      this.#hosts.say(this.#client, closeFrame(part.map((each) => close(each.handle, sent(each)))));
    }
  }

  closeServers(times: bigint, all: readonly Connection[]): void {
    for (const part of inParts(all)) {
      const received = (each: Connection) => totals({ bytesReceived: times * bytesOf(each), segmentsReceived: times });
      this.#hosts.say(this.#server, closeFrame(part.map((each) => close(each.handle, received(each)))));
    }
  }

  endWindow(): Record<string, Record<string, number>> {
    return this.#hosts.close();
  }

  /** Sums that crossed. */
  get sums(): number {
    return this.#hosts.fleet.crossed.get(RecordKind.EdgeFlowSum) ?? 0;
  }

  /** Samples in the histograms of the coarsest level. */
  get samples(): number {
    const points = this.#hosts.points.filter(({ level }) => level === Level.RoleRole);
    return points.flatMap(({ buckets }) => [...buckets.values()]).reduce((sum, count) => sum + count, 0);
  }
}

/** Of each edge, from what was told alone. */
function expected(more: Record<string, number> = {}): Record<string, Record<string, number>> {
  const edges: Record<string, Record<string, number>> = {};
  for (const port of new Set(CONNECTIONS.map((each) => each.port))) {
    const flows = CONNECTIONS.filter((each) => each.port === port);
    const samples = flows.map(rttOf).filter((rtt) => rtt !== 0);
    const rtt = {
      rttCount: samples.length,
      rttMinUs: Math.min(...samples),
      rttMaxUs: Math.max(...samples),
      rttSumUs: samples.reduce((sum, sample) => sum + sample, 0),
    };
    edges[`host-1/curl > host-2/nginx :${port}`] = {
      forwardBytes: Number(flows.reduce((sum, each) => sum + bytesOf(each), 0n)),
      forwardPackets: flows.length,
      active: flows.length,
      flowsBoth: flows.length,
      ...(samples.length > 0 ? rtt : {}),
      ...Object.fromEntries(Object.entries(more).map(([name, times]) => [name, times * flows.length])),
    };
  }
  return edges;
}

for (const workers of [1, 2, 4]) {
  test(`flows of one edge are added up between ${workers} workers, with each round trip, however many edges there are`, () => {
    const fleet = new Fleet(workers);
    fleet.open();
    fleet.tell(1n);
    assert.deepEqual(fleet.endWindow(), expected({ connections: 1 }));
    assert.equal(fleet.samples, CONNECTIONS.filter((each) => rttOf(each) !== 0).length);
    const before = fleet.sums;
    fleet.tell(2n);
    assert.deepEqual(fleet.endWindow(), expected());
    assert.equal(fleet.sums > before, workers > 1, 'sums cross');
    assert.equal(fleet.samples, CONNECTIONS.filter((each) => rttOf(each) !== 0).length);
  });

  test(`connections whose ends close in different windows are added up like the others, on ${workers} workers`, () => {
    const fleet = new Fleet(workers);
    fleet.open();
    fleet.tell(1n);
    fleet.endWindow();
    const [closing, staying] = [CONNECTIONS.slice(0, 1_000), CONNECTIONS.slice(1_000)];
    const bytes = (all: readonly Connection[]) => Number(all.reduce((total, each) => total + bytesOf(each), 0n));
    const sums = () => {
      const edges = Object.values(fleet.endWindow());
      const names = ['forwardBytes', 'judgedBytes', 'flowsBoth', 'active', 'closed'];
      return names.map((name) => edges.reduce((total, edge) => total + (edge[name] ?? 0), 0));
    };
    fleet.tell(2n);
    fleet.closeClients(2n, closing);
    const all = CONNECTIONS.length;
    assert.deepEqual(sums(), [bytes(CONNECTIONS), 0, all, all, closing.length]);
    fleet.tell(3n, staying);
    fleet.closeServers(2n, closing);
    assert.deepEqual(sums(), [bytes(staying), 2 * bytes(closing), all, staying.length, 0]);
  });
  test(`connections that open and close in one window are judged one by one, on ${workers} workers`, () => {
    const fleet = new Fleet(workers);
    fleet.open();
    fleet.closeClients(1n, CONNECTIONS);
    fleet.closeServers(1n, CONNECTIONS);
    const edges = fleet.endWindow();
    for (const [edge, { forwardBytes }] of Object.entries(expected()))
      assert.deepEqual([edges[edge].forwardBytes, edges[edge].judgedBytes], [forwardBytes, forwardBytes]);
  });
}
