// Flows of datagrams: joined by tuple, without a handshake that would begin them at both ends at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason, Role, RoleSource } from '../../../host/wire/gen/kernel-events-layout.ts';
import type { Open } from '../../../host/wire/gen/wire-layout.ts';
import { close, closeFrame, ipv4, once, onceFrame, openFrame, totals, wideFrame } from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const UDP = 17;
const EDGE = 'host-1/dig > host-2/named :80';

const asking = (values: Partial<Open> = {}): Open =>
  clientEnd({ joinKey: 0n, protocol: UDP, roleSource: RoleSource.FirstDatagram, handle: 1, cookie: 1n, ...values });
const answering = (values: Partial<Open> = {}): Open =>
  serverEnd({ joinKey: 0n, protocol: UDP, roleSource: RoleSource.FirstDatagram, handle: 1, cookie: 2n, ...values });
const sent = (bytes: number, datagrams = 0) => totals({ bytesSent: BigInt(bytes), segmentsSent: BigInt(datagrams) });
const received = (bytes: number, datagrams = 0) =>
  totals({ bytesReceived: BigInt(bytes), segmentsReceived: BigInt(datagrams) });

function twoHosts(options?: { workers: number }) {
  const hosts = new TwoHosts(MODULE, undefined, options);
  return { hosts, client: hosts.agent(1, 'dig'), server: hosts.agent(2, 'named') };
}

/** Totals over all windows so far. */
class Sums {
  readonly #hosts: TwoHosts;
  readonly #sums = new Map<string, number>();

  constructor(hosts: TwoHosts) {
    this.#hosts = hosts;
  }

  close(): void {
    for (const fields of Object.values(this.#hosts.close()))
      for (const [name, value] of Object.entries(fields)) this.#sums.set(name, (this.#sums.get(name) ?? 0) + value);
  }

  of(name: string): number {
    return this.#sums.get(name) ?? 0;
  }
}

for (const workers of [1, 2]) {
  test(`both ends are joined by their tuple, and what was not received is loss, with ${workers} workers`, () => {
    const { hosts, client, server } = twoHosts({ workers });
    hosts.say(client, openFrame([asking()]), wideFrame([{ handle: 1, totals: sent(1000, 10) }]));
    hosts.say(server, openFrame([answering()]), wideFrame([{ handle: 1, totals: received(700, 7) }]));
    const edge = hosts.close()[EDGE];
    assert.deepEqual([edge.forwardBytes, edge.forwardPackets, edge.active, edge.flowsBoth], [1000, 10, 1, 1]);
    hosts.say(client, closeFrame([close(1, sent(1000, 10))]));
    hosts.say(server, closeFrame([close(1, received(800, 8))]));
    const last = hosts.close()[EDGE];
    assert.deepEqual([last.forwardBytes, last.residualBytes, last.judgedBytes], [undefined, 200, 1000]);
  });
}

test('both ends of one agent are joined, as over loopback', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'dig');
  const local = { localAddress: ipv4(10, 0, 0, 1), remoteAddress: ipv4(10, 0, 0, 1) };
  hosts.say(
    agent,
    onceFrame([
      once({ open: asking({ handle: 0, ...local }), totals: sent(300, 3) }),
      once({ open: answering({ handle: 0, ...local }), totals: received(300, 3) }),
    ]),
  );
  const edge = hosts.close()['host-1/dig > host-1/dig :80'];
  assert.deepEqual([edge.forwardBytes, edge.flowsBoth, edge.connections, edge.residualBytes], [300, 1, 1, undefined]);
});

test('whoever sent the first datagram is the client, and a listener knows better', () => {
  const { hosts, client, server } = twoHosts();
  const late = { role: Role.Server, roleSource: RoleSource.FirstDatagram };
  hosts.say(client, openFrame([asking(late)]), wideFrame([{ handle: 1, totals: received(50) }]));
  hosts.say(
    server,
    openFrame([answering({ roleSource: RoleSource.Listener })]),
    wideFrame([{ handle: 1, totals: sent(50) }]),
  );
  assert.equal(hosts.close()[EDGE].reverseBytes, 50);
});

test('what was received and not seen to be sent is no loss', () => {
  const { hosts, client, server } = twoHosts();
  hosts.say(client, onceFrame([once({ open: asking({ handle: 0 }), totals: sent(100) })]));
  hosts.say(server, onceFrame([once({ open: answering({ handle: 0 }), totals: received(400) })]));
  const edge = hosts.close()[EDGE];
  assert.deepEqual([edge.forwardBytes, edge.residualBytes], [400, undefined]);
});

test('a flow that may have begun before an agent looked is booked, and neither counted there nor judged', () => {
  const { hosts, client, server } = twoHosts();
  hosts.say(client, onceFrame([once({ open: asking({ handle: 0, flags: 1 }), totals: sent(400) })]));
  assert.deepEqual(hosts.close()['host-1/dig > 10.0.0.2 :80'].connections, undefined);
  hosts.say(server, onceFrame([once({ open: answering({ handle: 0 }), totals: received(100) })]));
  const edge = hosts.close()[EDGE];
  assert.deepEqual([edge.connections, edge.judgedBytes], [1, undefined]);
});

test('an end that paused while the other did not goes on in the same flow: no byte twice, no flow twice', () => {
  const { hosts, client, server } = twoHosts();
  const sums = new Sums(hosts);
  hosts.say(client, openFrame([asking()]), wideFrame([{ handle: 1, totals: sent(100, 1) }]));
  hosts.say(server, openFrame([answering()]), wideFrame([{ handle: 1, totals: received(100, 1) }]));
  sums.close();
  hosts.say(client, closeFrame([close(1, sent(100, 1))]));
  sums.close();
  hosts.say(client, openFrame([asking({ handle: 2, cookie: 3n })]), wideFrame([{ handle: 2, totals: sent(40, 2) }]));
  hosts.say(server, wideFrame([{ handle: 1, totals: received(140, 3) }]));
  sums.close();
  assert.deepEqual([sums.of('forwardBytes'), sums.of('forwardPackets'), sums.of('connections')], [140, 3, 1]);
  hosts.say(client, closeFrame([close(2, sent(50, 3))]));
  hosts.say(server, closeFrame([close(1, received(145, 4))]));
  sums.close();
  assert.deepEqual([sums.of('forwardBytes'), sums.of('residualBytes'), sums.of('judgedBytes')], [150, 5, 150]);
});

test('after a pause of both ends another flow begins, whichever end tells it first', () => {
  for (const order of ['client', 'server']) {
    const { hosts, client, server } = twoHosts();
    const sums = new Sums(hosts);
    for (const cookie of [10n, 20n]) {
      const handle = Number(cookie);
      const tell = {
        client: () =>
          hosts.say(client, openFrame([asking({ handle, cookie })]), wideFrame([{ handle, totals: sent(100) }])),
        server: () =>
          hosts.say(
            server,
            openFrame([answering({ handle, cookie: cookie + 1n })]),
            wideFrame([{ handle, totals: received(100) }]),
          ),
      };
      for (const side of order === 'client' ? (['client', 'server'] as const) : (['server', 'client'] as const))
        tell[side]();
      sums.close();
      hosts.say(client, closeFrame([close(handle, sent(100))]));
      sums.close();
      hosts.say(server, closeFrame([close(handle, received(100))]));
      sums.close();
    }
    assert.deepEqual(
      [sums.of('forwardBytes'), sums.of('connections'), sums.of('closed'), sums.of('residualBytes')],
      [200, 2, 2, 0],
    );
  }
});

for (const order of ['its snapshot before the old session is gone', 'the old session is gone before']) {
  test(`an agent that restarts goes on in the flow of the other end: ${order}`, () => {
    const { hosts, client, server } = twoHosts();
    const sums = new Sums(hosts);
    hosts.say(client, openFrame([asking()]), wideFrame([{ handle: 1, totals: sent(100) }]));
    hosts.say(server, openFrame([answering()]), wideFrame([{ handle: 1, totals: received(100) }]));
    sums.close();
    const isFirst = order.startsWith('its');
    if (!isFirst) hosts.detach(client, CloseReason.AgentLost);
    const after = hosts.agent(1, 'dig', { session: 60n });
    // What passed while nobody looked, 30 bytes, only the server knows.
    hosts.say(after, openFrame([asking({ handle: 7, cookie: 9n })]), wideFrame([{ handle: 7, totals: sent(20) }]));
    if (isFirst) hosts.detach(client, CloseReason.AgentRestart);
    hosts.say(server, wideFrame([{ handle: 1, totals: received(150) }]));
    sums.close();
    assert.deepEqual([sums.of('forwardBytes'), sums.of('connections'), sums.of('active')], [150, 1, 2]);
    hosts.say(after, closeFrame([close(7, sent(20))]));
    hosts.say(server, closeFrame([close(1, received(150))]));
    sums.close();
    assert.deepEqual([sums.of('forwardBytes'), sums.of('judgedBytes')], [150, 0]);
  });
}

for (const order of ['its snapshot before the old session is gone', 'the old session is gone before']) {
  test(`an agent that restarts goes on in flows of which nobody else tells, and of which it tells both ends: ${order}`, () => {
    const hosts = new TwoHosts(MODULE);
    const client = hosts.agent(1, 'dig');
    const sums = new Sums(hosts);
    const own = (name: string): number =>
      Object.values(hosts.own).reduce((sum, fields) => sum + (fields[name] ?? 0), 0);
    const local = { localAddress: ipv4(10, 0, 0, 2), remoteAddress: ipv4(10, 0, 0, 1) };
    const ends = (cookie: bigint): Open[] => [
      asking({ cookie, remoteAddress: ipv4(10, 9, 9, 9) }),
      asking({ cookie: cookie + 1n, handle: 2, localPort: 50_000 }),
      answering({ ...local, cookie: cookie + 2n, handle: 3, remotePort: 50_000 }),
    ];
    const told = (bytes: number): Uint8Array =>
      wideFrame([
        { handle: 1, totals: sent(bytes) },
        { handle: 2, totals: sent(bytes) },
        { handle: 3, totals: received(bytes) },
      ]);
    hosts.say(client, openFrame(ends(1n)), told(100));
    sums.close();
    const isFirst = order.startsWith('its');
    if (!isFirst) hosts.detach(client, CloseReason.AgentRestart);
    const after = hosts.agent(1, 'dig', { session: 60n });
    hosts.say(after, openFrame(ends(11n)), told(20));
    if (isFirst) hosts.detach(client, CloseReason.AgentRestart);
    sums.close();
    assert.deepEqual([sums.of('forwardBytes'), sums.of('connections'), sums.of('active')], [240, 2, 4]);
    assert.deepEqual([own('clientBytesSent'), own('serverBytesReceived')], [40, 20]);
    hosts.say(after, told(50));
    sums.close();
    assert.equal(sums.of('forwardBytes'), 300);
  });
}
