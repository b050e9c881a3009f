// Segments that no kernel would send, from a sender of our own outside: out of order, and resets at every phase. Truth is what the server's kernel counts
// in its network namespace.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { seededRandom } from '../../host/lib/random.ts';
import { Lab } from './lab.ts';
import { LineProgram } from './line-program.ts';
import type { LabHost } from './network.ts';
import { readCounter } from './protocol-counters.ts';
import { describeSamples, type Sample, scrape, sumOf } from './scrape.ts';
import { Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const PROGRAM = fileURLToPath(new URL('./raw_tcp.py', import.meta.url));
const METRICS_PORT = 9464;
/** No host has it. */
const OWN_ADDRESS = '10.99.0.200';
const OUT_OF_ORDER = 'tributary_tcp_out_of_order_count_total';
const RESETS_SENT = 'tributary_tcp_reset_sent_count_total';
const RESETS_RECEIVED = 'tributary_tcp_reset_received_count_total';
const CONNECTIONS = 5;

type Command =
  | ['connect', port: number]
  | ['send', number: number, bytes: number, order: string]
  | ['reset', number: number, offset: number]
  | ['finished', number: number];

describe('segments of an own sender', { concurrency: false }, () => {
  const lab = new Lab({
    hosts: ['out', 'srv'],
    unwatched: ['out'],
    reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`, '--level', 'role_role'],
  });
  let server: LabHost;
  /** In a host without an agent. */
  let sender: LineProgram<Command>;
  let receiver: Sockets;

  before(async () => {
    await lab.start();
    server = lab.network.host('srv');
    const link = JSON.parse(await lab.network.host('out').exec('ip', '-j', 'link', 'show', 'eth0'));
    await server.exec('ip', 'neigh', 'add', OWN_ADDRESS, 'lladdr', link[0].address, 'dev', 'eth0', 'nud', 'permanent');
    sender = new LineProgram(lab, 'out', PROGRAM, 'eth0', OWN_ADDRESS, server.v4);
    receiver = new Sockets(lab, 'srv');
  });
  after(() => lab.stop());

  const connectRaw = async (port: number): Promise<[raw: number, accepted: number]> => {
    const raw = await sender.order('connect', port);
    return [raw, await receiver.order('accept')];
  };

  /** The counters' rise since now. */
  async function riseOf(...names: [protocol: string, name: string][]): Promise<() => Promise<number[]>> {
    const read = () => Promise.all(names.map(([protocol, name]) => readCounter(server, protocol, name)));
    const before = await read();
    return async () => (await read()).map((value, index) => value - before[index]);
  }

  async function untilExported(port: number, expected: readonly [string, Record<string, string>, number][]) {
    let samples: Sample[] = [];
    const at = { server_port: `${port}` };
    await waitFor(
      async () => {
        samples = await scrape(lab.island, METRICS_PORT);
        return (
          expected.every(([name, labels, value]) => sumOf(samples, name, { ...at, ...labels }) === value) || undefined
        );
      },
      JSON.stringify(expected),
      { detail: () => describeSamples(samples, /^tributary_tcp_(out_of|reset)/) },
    );
  }

  test('shuffled segments: as many out of order as the kernel queued so', async (t) => {
    const [PORT, SEGMENTS, BYTES] = [7401, 20, 100];
    const seed = Number(process.env.TRIBUTARY_SEED ?? Date.now() % 1_000_000);
    t.diagnostic(`TRIBUTARY_SEED=${seed}`);
    const random = seededRandom(seed);
    await receiver.order('listen', PORT);
    const rise = await riseOf(['TcpExt', 'TCPOFOQueue']);
    for (let count = 0; count < CONNECTIONS; count++) {
      const [raw, accepted] = await connectRaw(PORT);
      const order = shuffled(SEGMENTS, random);
      await sender.order('send', raw, BYTES, order.join());
      assert.equal(await receiver.order('receive', accepted, SEGMENTS * BYTES), SEGMENTS * BYTES);
      await sender.order('reset', raw, 0);
      await receiver.order('close', accepted);
    }
    const [queued] = await rise();
    assert.ok(queued > CONNECTIONS, `${queued} segments were out of order`);
    await untilExported(PORT, [
      [OUT_OF_ORDER, { tributary_side: 'server' }, queued],
      [OUT_OF_ORDER, {}, queued],
    ]);
  });

  test('resets from outside in the middle: those that the kernel believes', async () => {
    const PORT = 7402;
    await receiver.order('listen', PORT);
    const rise = await riseOf(['Tcp', 'EstabResets'], ['TcpExt', 'TCPChallengeACK'], ['Tcp', 'OutRsts']);
    for (let count = 0; count < CONNECTIONS; count++) {
      const [raw, accepted] = await connectRaw(PORT);
      // Within the window, but not where the next byte is due (RFC 5961, section 3.2): whoever sends it is guessing.
      await sender.order('reset', raw, 1000);
      await sender.order('send', raw, 50, '0,1');
      assert.equal(await receiver.order('receive', accepted, 100), 100);
      await sender.order('reset', raw, 0);
    }
    await waitFor(async () => (await rise())[0] === CONNECTIONS || undefined, 'every connection to be reset');
    const [reset, challenged, sent] = await rise();
    assert.deepEqual([reset, sent], [CONNECTIONS, 0]);
    assert.ok(challenged > 0, 'a guess was answered');
    await untilExported(PORT, [
      [RESETS_RECEIVED, { tributary_side: 'server', tributary_tcp_connection_phase: 'transfer' }, reset],
      [RESETS_RECEIVED, {}, reset],
      [RESETS_SENT, {}, sent],
    ]);
  });

  test('resets of a server that does not want what comes', async () => {
    const PORT = 7403;
    await receiver.order('listen', PORT);
    const rise = await riseOf(['TcpExt', 'TCPAbortOnClose'], ['Tcp', 'OutRsts']);
    for (let count = 0; count < CONNECTIONS; count++) {
      const [raw, accepted] = await connectRaw(PORT);
      await sender.order('send', raw, 10, '0');
      await waitFor(
        async () => (await server.exec('ss', '-Htn', `sport = :${PORT}`)).includes(' 10 ') || undefined,
        'data that nobody reads',
      );
      await receiver.order('close', accepted);
    }
    const [aborted, sent] = await rise();
    assert.deepEqual([aborted, sent], [CONNECTIONS, CONNECTIONS]);
    await untilExported(PORT, [
      [RESETS_SENT, { tributary_side: 'server', tributary_tcp_connection_phase: 'transfer' }, aborted],
      [RESETS_SENT, {}, aborted],
      [RESETS_RECEIVED, {}, 0],
    ]);
  });

  test('a reset as the answer to a FIN', async () => {
    const PORT = 7404;
    await receiver.order('listen', PORT);
    const rise = await riseOf(['Tcp', 'OutRsts'], ['TcpExt', 'TCPAbortOnClose']);
    for (let count = 0; count < CONNECTIONS; count++) {
      const [raw, accepted] = await connectRaw(PORT);
      await receiver.order('close', accepted);
      await sender.order('finished', raw);
      await sender.order('reset', raw, 0);
    }
    await untilExported(PORT, [
      [RESETS_RECEIVED, { tributary_side: 'server', tributary_tcp_connection_phase: 'close' }, CONNECTIONS],
      [RESETS_RECEIVED, {}, CONNECTIONS],
      [RESETS_SENT, {}, 0],
    ]);
    assert.deepEqual(await rise(), [0, 0]);
  });
});

/** Of the numbers below `count`, each once (Fisher and Yates). */
function shuffled(count: number, random: () => number): number[] {
  const numbers = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [numbers[last], numbers[other]] = [numbers[other], numbers[last]];
  }
  return numbers;
}
