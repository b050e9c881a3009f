import assert from 'node:assert/strict';
import { test } from 'node:test';
import { close, closeFrame, once, onceFrame, openFrame, totals, wideFrame } from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { addressOf, clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const SERVERS = [2, 3, 4, 5];
const LIMIT = 2n ** 32n;
/** What the connections with one server have sent at first: each side of the limit of a narrow record, and on it. */
const SIZES = [1n, LIMIT - 1n, LIMIT, 3n * LIMIT + 5n];
/** What each sends then, which takes the second one over the limit. */
const MORE = 7n;
/** What each has sent at last, without a segment sent again, while the servers wait for its byte: both ends of a flow do not say the same. */
const LAST = 8n;

for (const workers of [1, 2, 4]) {
  test(`totals and sums of any size cross between ${workers} workers as they are`, () => {
    const hosts = new TwoHosts(MODULE, undefined, { workers });
    const client = hosts.agent(1, 'curl');
    const servers = SERVERS.map((host) => hosts.agent(host, 'nginx'));
    const each = SERVERS.flatMap((host, row) => SIZES.map((size, column) => ({ host, size, row, column })));
    const handleOf = ({ row, column }: { row: number; column: number }) => row * SIZES.length + column + 1;
    const tell = (more: bigint, bytesUnderWay = 0n) => {
      for (const place of each) {
        const [handle, sent] = [handleOf(place), place.size + more];
        const told = totals({ bytesSent: sent, segmentsSent: 2n + more, retransmits: more / 7n });
        hosts.say(client, wideFrame([{ handle, totals: told }]));
        const received = totals({ bytesReceived: sent - bytesUnderWay, segmentsReceived: 2n + more });
        hosts.say(servers[place.row], wideFrame([{ handle, totals: received }]));
      }
    };
    for (const place of each) {
      const own = { handle: handleOf(place), joinKey: BigInt(handleOf(place)) };
      hosts.say(client, openFrame([clientEnd({ ...own, cookie: own.joinKey, remoteAddress: addressOf(place.host) })]));
      const local = { localAddress: addressOf(place.host), cookie: own.joinKey };
      hosts.say(servers[place.row], openFrame([serverEnd({ ...own, ...local })]));
    }
    const count = SIZES.length;
    const sum = Number(SIZES.reduce((total, size) => total + size));
    for (const { more, bytes, packets, rest } of [
      { more: 0n, bytes: sum, packets: 2 * count, rest: { connections: count } },
      { more: MORE, bytes: 7 * count, packets: 7 * count, rest: { forwardRetransmits: count } },
    ]) {
      tell(more);
      const edges = hosts.close();
      for (const host of SERVERS) {
        const edge = `host-1/curl > host-${host}/nginx :80`;
        const booked = { forwardBytes: bytes, forwardPackets: packets };
        assert.deepEqual(edges[edge], { ...booked, ...rest, active: count, flowsBoth: count });
        const client = { clientBytesSent: bytes, clientPacketsSent: packets };
        assert.deepEqual(hosts.own[edge], { ...client, serverBytesReceived: bytes, serverPacketsReceived: packets });
      }
    }
    tell(LAST, 1n);
    const edges = hosts.close();
    for (const host of SERVERS) {
      const edge = `host-1/curl > host-${host}/nginx :80`;
      assert.deepEqual(edges[edge], { forwardBytes: count, forwardPackets: count, active: count, flowsBoth: count });
      const own = { clientBytesSent: count, clientPacketsSent: count };
      assert.deepEqual(hosts.own[edge], { ...own, serverPacketsReceived: count });
    }
  });
}

/** What the servers' ends of short connections have not seen of 100 bytes in four segments. */
const MISSING = [
  { bytes: 0n, segments: 0n },
  { bytes: 0n, segments: 1n },
  { bytes: 3n, segments: 0n },
];

for (const workers of [1, 2, 4]) {
  test(`short connections are judged for all of their bytes, whether their ends say the same or not, on ${workers} workers`, () => {
    const hosts = new TwoHosts(MODULE, undefined, { workers });
    const client = hosts.agent(1, 'curl');
    const servers = SERVERS.map((host) => ({ host, server: hosts.agent(host, 'nginx') }));
    // Beside them connections that stay, of which nothing is judged.
    const staying = (told: bigint) => {
      for (const { host, server } of servers) {
        hosts.say(client, wideFrame([{ handle: host, totals: totals({ bytesSent: told, segmentsSent: told }) }]));
        hosts.say(server, wideFrame([{ handle: 1, totals: totals({ bytesReceived: told, segmentsReceived: told }) }]));
      }
    };
    for (const { host, server } of servers) {
      const joinKey = BigInt(host);
      const far = { joinKey, cookie: joinKey };
      hosts.say(client, openFrame([clientEnd({ ...far, handle: host, remoteAddress: addressOf(host) })]));
      hosts.say(server, openFrame([serverEnd({ ...far, handle: 1, localAddress: addressOf(host) })]));
      const ends = MISSING.map(({ bytes, segments }, index) => {
        const joinKey = BigInt(host * 10 + index);
        const sent = totals({ bytesSent: 100n, segmentsSent: 4n });
        const received = totals({ bytesReceived: 100n - bytes, segmentsReceived: 4n - segments });
        return [
          once({ open: clientEnd({ joinKey, cookie: joinKey, remoteAddress: addressOf(host) }), totals: sent }),
          once({ open: serverEnd({ joinKey, cookie: joinKey, localAddress: addressOf(host) }), totals: received }),
        ];
      });
      hosts.say(client, onceFrame(ends.map(([end]) => end)));
      hosts.say(server, onceFrame(ends.map(([, end]) => end)));
    }
    staying(50n);
    const edges = hosts.close();
    for (const host of SERVERS) {
      const edge = edges[`host-1/curl > host-${host}/nginx :80`];
      assert.deepEqual(
        [edge.forwardBytes, edge.forwardPackets, edge.judgedBytes, edge.residualBytes, edge.flowsBoth, edge.closed],
        [350, 62, 300, 3, 4, 3],
      );
    }
    staying(60n);
    for (const edge of Object.values(hosts.close()))
      assert.deepEqual([edge.forwardBytes, edge.judgedBytes], [10, undefined]);
  });
}

for (const workers of [1, 2, 4]) {
  test(`a connection that closes in a later window is judged for the bytes of all its windows, on ${workers} workers`, () => {
    const hosts = new TwoHosts(MODULE, undefined, { workers });
    const client = hosts.agent(1, 'curl');
    const servers = SERVERS.map((host) => ({ host, agent: hosts.agent(host, 'nginx') }));
    for (const { host, agent } of servers) {
      const joinKey = BigInt(host);
      hosts.say(
        client,
        openFrame([clientEnd({ handle: host, joinKey, cookie: joinKey, remoteAddress: addressOf(host) })]),
      );
      hosts.say(client, wideFrame([{ handle: host, totals: totals({ bytesSent: 100n, segmentsSent: 1n }) }]));
      hosts.say(agent, openFrame([serverEnd({ handle: 1, joinKey, cookie: joinKey, localAddress: addressOf(host) })]));
      hosts.say(agent, wideFrame([{ handle: 1, totals: totals({ bytesReceived: 100n, segmentsReceived: 1n }) }]));
    }
    hosts.close();
    for (const { host, agent } of servers) {
      hosts.say(client, closeFrame([close(host, totals({ bytesSent: 150n, segmentsSent: 2n }))]));
      hosts.say(agent, closeFrame([close(1, totals({ bytesReceived: 150n, segmentsReceived: 2n }))]));
    }
    const edges = hosts.close();
    for (const { host } of servers) {
      const edge = edges[`host-1/curl > host-${host}/nginx :80`];
      assert.deepEqual([edge.forwardBytes, edge.judgedBytes, edge.residualBytes], [50, 150, undefined]);
    }
  });
}
