// Sockets that are older than the agents. Their history is not traffic, what moves afterwards is, and they are active until they close. Truth: `ss`
// says which live and what the kernel had counted before the agents came, the programs say what they moved since.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atPort, closedAtBothEnds, sumsOf } from './edge-sums.ts';
import { Lab } from './lab.ts';
import type { LabHost } from './network.ts';
import { connect, Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const PORT = 7000;
const STREAM_PORT = 7001;
const IDLE = 3;
/** Idle ones, and one each that is used, unaccepted, orphaned, passed on. */
const CONNECTIONS = IDLE + 4;
const EXCHANGES_MAX = 20;

test('sockets older than both agents are active without history until they close', async (t) => {
  const lab = new Lab({ hosts: ['cli', 'srv'] });
  t.after(() => lab.stop());
  await lab.prepare();
  const [clientHost, serverHost] = [lab.network.host('cli'), lab.network.host('srv')];
  const [client, server] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
  await server.order('listen', PORT);
  const open = () => connect(client, server, serverHost.v4, PORT);

  const idle = [];
  for (let index = 0; index < IDLE; index++) idle.push(await open());
  const used = await open();
  const passed = await open();
  const orphaned = await open();
  for (const { client: sender, server: receiver } of [...idle, used, passed, orphaned]) {
    await client.order('send', sender, 5_000);
    await server.order('receive', receiver, 5_000);
    await server.order('send', receiver, 7_000);
    await client.order('receive', sender, 7_000);
  }
  await server.order('pass', passed.server);
  const filled = await server.order('fill', orphaned.server);
  await server.order('close', orphaned.server);
  const unaccepted = await client.order('connect', serverHost.v4, PORT);
  await client.order('send', unaccepted, 100);
  const orphan = await waitFor(
    async () => (await socketsAt(serverHost, PORT)).find((line) => line.startsWith('FIN-WAIT-1')),
    'ss to show the orphaned socket',
  );
  const orphanedBefore = Number(orphan.match(/bytes_acked:(\d+)/)?.[1]) - 7_000;
  assert.ok(orphanedBefore > 0 && orphanedBefore < filled, `${orphanedBefore} of ${filled} bytes have arrived`);

  await lab.begin();
  assert.equal((await socketsAt(clientHost, PORT)).length, CONNECTIONS, 'sockets of the client, says ss');
  const first = await lab.untilEdges('role_role', 'all of them to be active', (answer) => {
    const sums = sumsOf(atPort(answer, PORT));
    return sums.active === CONNECTIONS ? sums : undefined;
  });
  assert.deepEqual([first.forward, first.reverse], [0, 0], 'history is not traffic');

  const accepted = await server.order('accept');
  await client.order('send', used.client, 123_456);
  await server.order('receive', used.server, 123_456);
  await server.order('send', used.server, 65_432);
  await client.order('receive', used.client, 65_432);
  await server.order('receive', accepted, 100);
  await server.order('send', accepted, 777);
  await client.order('receive', unaccepted, 777);
  await server.order('send', passed.server, 4_321);
  await client.order('receive', passed.client, 4_321);
  assert.equal(await client.order('receive', orphaned.client, filled + 1), filled, 'all, and then the end');
  const forward = 123_456;
  const reverse = 65_432 + 777 + 4_321 + filled - orphanedBefore;
  await lab.untilEdges('role_role', 'what moved since', (answer) => {
    const sums = sumsOf(atPort(answer, PORT));
    return sums.forward >= forward && sums.reverse >= reverse ? true : undefined;
  });

  for (const { client: number } of [...idle, used, passed, orphaned]) await client.order('close', number);
  await client.order('close', unaccepted);
  for (const number of [...idle.map((each) => each.server), used.server, passed.server, accepted])
    await server.order('close', number);
  const edges = await lab.untilEdges('role_role', 'all of them to close', closedAtBothEnds(PORT, CONNECTIONS));
  t.diagnostic(JSON.stringify(edges.map(({ client: from, server: to, bytes, match }) => ({ from, to, bytes, match }))));
  const sums = sumsOf(edges);
  assert.deepEqual(
    { forward: sums.forward, reverse: sums.reverse, connections: sums.connections, closed: sums.closed },
    { forward, reverse, connections: 0, closed: CONNECTIONS },
    'none of them is new, and each closes once',
  );
});

test('a socket that is in use while the agents start is booked from about then on', async (t) => {
  const lab = new Lab({ hosts: ['cli', 'srv'] });
  t.after(() => lab.stop());
  await lab.prepare();
  const [client, server] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
  await server.order('listen', STREAM_PORT);
  const stream = await connect(client, server, lab.network.host('srv').v4, STREAM_PORT);
  const drained = server.order('receive', stream.server, 1 << 30);
  await client.order('stream', stream.client, 1_000);
  const sent = (): Promise<number> => client.order('sent', stream.client);
  const beforeStart = await waitFor(async () => ((await sent()) > 100_000 ? sent() : undefined), 'the stream to flow');
  await lab.begin();
  const afterStart = await sent();
  assert.ok(afterStart > beforeStart, 'it moved while the agents started');
  await lab.untilEdges('role_role', 'windows in which both ends were seen', (answer) =>
    sumsOf(atPort(answer, STREAM_PORT)).both > 1 ? true : undefined,
  );
  const total = await client.order('rest', stream.client);
  await client.order('close', stream.client);
  assert.equal(await drained, total);
  await server.order('close', stream.server);
  const edges = await lab.untilEdges('role_role', 'the stream to close', closedAtBothEnds(STREAM_PORT, 1));
  const { forward, connections } = sumsOf(edges);
  t.diagnostic(
    `${forward} booked; ${total - beforeStart} sent since before the start, ${total - afterStart} since after`,
  );
  assert.ok(forward >= total - afterStart, 'nothing is missing that moved while both agents looked');
  assert.ok(forward <= total - beforeStart, 'nothing of before is booked');
  assert.equal(connections, 0);
});

for (const [first, second] of [
  ['cli', 'srv'],
  ['srv', 'cli'],
] as const) {
  test(`an end that the agent of ${second} adopts later, after that of ${first}, joins the flow and changes no sum`, async (t) => {
    const lab = new Lab({ hosts: ['cli', 'srv'], unwatched: [second] });
    t.after(() => lab.stop());
    await lab.prepare();
    const [client, server] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
    await server.order('listen', PORT);
    const address = lab.network.host('srv').v4;
    const { client: clientSocket, server: serverSocket } = await connect(client, server, address, PORT);
    const moved = { forward: 0, reverse: 0 };
    const exchange = async (forward: number, reverse: number): Promise<void> => {
      await client.order('send', clientSocket, forward);
      await server.order('receive', serverSocket, forward);
      await server.order('send', serverSocket, reverse);
      await client.order('receive', clientSocket, reverse);
    };
    /** Returns once it is booked, with the number of windows so far in which both ends were seen. */
    const exchangeAndBook = async (forward: number, reverse: number): Promise<number> => {
      await exchange(forward, reverse);
      moved.forward += forward;
      moved.reverse += reverse;
      return lab.untilEdges('role_role', `${moved.forward} and ${moved.reverse} bytes`, (answer) => {
        const sums = sumsOf(atPort(answer, PORT));
        assert.ok(sums.forward <= moved.forward && sums.reverse <= moved.reverse, 'no byte is booked twice');
        return sums.forward === moved.forward && sums.reverse === moved.reverse ? sums.both : undefined;
      });
    };
    await exchange(40_000, 50_000);
    await lab.begin();
    assert.equal(await exchangeAndBook(1_111, 2_222), 0, 'one end is watched');
    await lab.startAgent(second).logged(/connected/);
    // While an exchange goes on, one agent may end its window and the other not yet: then each tells it in a window of its own.
    let windowsOfBoth = 0;
    for (let count = 0; windowsOfBoth === 0 && count < EXCHANGES_MAX; count++)
      windowsOfBoth = await exchangeAndBook(30_000, 4_000);
    assert.ok(windowsOfBoth > 0, `${EXCHANGES_MAX} exchanges were seen from one end at a time`);
    await client.order('close', clientSocket);
    await server.order('close', serverSocket);
    const edges = await lab.untilEdges('role_role', 'the socket to close', closedAtBothEnds(PORT, 1));
    const { forward, reverse, connections, closed } = sumsOf(edges);
    assert.deepEqual({ forward, reverse, connections, closed }, { ...moved, connections: 0, closed: 1 });
  });
}

/** Connected sockets at either end of the port with the kernel's counters, one line each; listeners are left out. */
async function socketsAt(host: LabHost, port: number): Promise<string[]> {
  const output = await host.exec('ss', '-HtniO', 'state', 'connected', `( sport = :${port} or dport = :${port} )`);
  return output.split('\n').filter((line) => line.trim() !== '');
}
