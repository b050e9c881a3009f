// How well connections do, from the kernel to what Prometheus scrapes. Truth is what the kernel counts in each host's own network namespace, and the
// exit codes of curl.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Lab } from './lab.ts';
import type { LabHost } from './network.ts';
import { readCounter } from './protocol-counters.ts';
import { Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const METRICS_PORT = 9464;

/** Connects to an address and a port as often as it is told, and prints the name of the error of each. */
const CONNECT_ERRORS = `import errno, socket, sys
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
print(*(errno.errorcode[socket.socket(family).connect_ex((address, port))] for _ in range(count)))`;

/** Labels and values of one metric. */
type Series = { labels: Record<string, string>; value: number };

/** Without escapes: these labels have none. */
function readSeries(text: string, metric: string): Series[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${metric}{`))
    .map((line) => {
      const end = line.lastIndexOf('}');
      const labels = line.slice(metric.length + 1, end).matchAll(/(\w+)="([^"]*)"/g);
      return {
        labels: Object.fromEntries([...labels].map(([, name, value]) => [name, value])),
        value: +line.slice(end + 1),
      };
    });
}

describe('the health of TCP connections', { concurrency: false }, () => {
  const lab = new Lab({
    hosts: ['cli', 'srv'],
    reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`, '--level', 'role_role'],
  });
  let client: LabHost;
  let server: LabHost;

  before(async () => {
    await lab.start();
    client = lab.network.host('cli');
    server = lab.network.host('srv');
    // A packet is a segment, so that counters of packets and of segments agree.
    await client.exec('ip', 'link', 'set', 'eth0', 'gso_max_segs', '1');
    await client.exec('sysctl', '-q', '-w', 'net.ipv4.tcp_syn_retries=1');
    await server.nft('table inet loss {\n chain i {\n type filter hook input priority 0;\n }\n }');
  });
  after(() => lab.stop());

  /** The sum over all series with these labels, until it is `expected`. */
  async function untilSum(metric: string, labels: Record<string, string>, expected: number): Promise<void> {
    let text = '';
    await waitFor(
      async () => {
        text = await lab.island.exec('curl', '-sS', '--fail-with-body', `http://127.0.0.1:${METRICS_PORT}/metrics`);
        const sum = readSeries(text, metric)
          .filter((series) => Object.entries(labels).every(([name, value]) => series.labels[name] === value))
          .reduce((total, { value }) => total + value, 0);
        return sum === expected ? true : undefined;
      },
      `${metric}${JSON.stringify(labels)} to be ${expected}`,
      {
        detail: () =>
          text
            .split('\n')
            .filter((line) => line.startsWith('tributary_tcp'))
            .join('\n'),
      },
    );
  }

  test('holes in a stream: fast retransmits of the sender, and what arrives out of order', async () => {
    const PORT = 7301;
    const [from, to] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
    await to.order('listen', PORT);
    const socket = await from.order('connect', server.v4, PORT);
    const accepted = await to.order('accept');
    // No probes: a segment that the kernel ran no program for is told with the next one, as that one's kind (bpf/README.md).
    await client.exec('sysctl', '-q', '-w', 'net.ipv4.tcp_early_retrans=0');
    const before = {
      fast: await readCounter(client, 'TcpExt', 'TCPFastRetrans'),
      all: await readCounter(client, 'Tcp', 'RetransSegs'),
      outOfOrder: await readCounter(server, 'TcpExt', 'TCPOFOQueue'),
    };
    await server.nft(`add rule inet loss i tcp dport ${PORT} meta length > 1000 numgen inc mod 40 == 17 drop`);
    await Promise.all([from.order('send', socket, 2_000_000), to.order('receive', accepted, 2_000_000)]);
    await server.nft('flush chain inet loss i');
    await from.order('close', socket);
    await to.order('close', accepted);
    await waitFor(
      async () => ((await client.exec('ss', '-Htn', `dport = :${PORT}`)).trim() === '' ? true : undefined),
      'everything to be acknowledged',
    );
    const fast = (await readCounter(client, 'TcpExt', 'TCPFastRetrans')) - before.fast;
    const all = (await readCounter(client, 'Tcp', 'RetransSegs')) - before.all;
    const outOfOrder = (await readCounter(server, 'TcpExt', 'TCPOFOQueue')) - before.outOfOrder;
    assert.ok(fast > 0 && outOfOrder > 0, 'the rule has cut holes');
    const at = { server_port: String(PORT) };
    // A busy machine may make a timer run out as well.
    const kind: Record<string, string> = all === fast ? { tributary_tcp_retransmit_kind: 'fast' } : {};
    await untilSum('tributary_tcp_retransmit_segment_count_total', { ...at, tributary_side: 'client', ...kind }, all);
    await untilSum('tributary_tcp_out_of_order_count_total', { ...at, tributary_side: 'server' }, outOfOrder);
    await untilSum('tributary_tcp_out_of_order_count_total', at, outOfOrder);
    for (const [name, side] of [
      ['server', 'client'],
      ['client', 'server'],
    ]) {
      const labels = { ...at, tributary_side: side };
      await untilSum(`tributary_tcp_handshake_${name}_duration_seconds_count`, labels, 1);
      await untilSum('tributary_tcp_connection_duration_seconds_count', labels, 1);
    }
    await untilSum('tributary_tcp_rtt_min_seconds_count', at, 2);
  });

  test('an end that does not read shuts its window', async () => {
    const PORT = 7302;
    const [from, to] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
    await to.order('listen', PORT);
    const before = await readCounter(server, 'TcpExt', 'TCPToZeroWindowAdv');
    const socket = await from.order('connect', server.v4, PORT);
    const accepted = await to.order('accept');
    const filled = await from.order('fill', socket);
    await waitFor(
      async () => ((await readCounter(server, 'TcpExt', 'TCPToZeroWindowAdv')) > before ? true : undefined),
      'a window of 0',
    );
    await to.order('receive', accepted, filled);
    await to.order('close', accepted);
    await from.order('close', socket);
    const shut = (await readCounter(server, 'TcpExt', 'TCPToZeroWindowAdv')) - before;
    await untilSum(
      'tributary_tcp_zero_window_count_total',
      { server_port: String(PORT), tributary_side: 'server' },
      shut,
    );
  });

  test('refused connects: by errno, and as resets in the phase of establishing', async () => {
    const [PORT, COUNT] = [7303, 5];
    for (let count = 0; count < COUNT; count++) {
      const { code } = await client.attempt('curl', '-sS', `http://${server.v4}:${PORT}/`);
      assert.equal(code, 7, 'curl: failed to connect to host');
    }
    const at = { server_port: String(PORT), tributary_side: 'client' };
    await untilSum('tributary_tcp_connect_error_count_total', { ...at, error_type: 'ECONNREFUSED' }, COUNT);
    const phase = { tributary_tcp_connection_phase: 'establish' };
    await untilSum('tributary_tcp_reset_received_count_total', { ...at, ...phase }, COUNT);
  });

  test('connects that a router turns away: by the errno that the application was told', async () => {
    const turnedAway = [
      { port: 7311, protocol: 'ipv4', reject: 'icmp net-unreachable', error: 'ENETUNREACH' },
      { port: 7312, protocol: 'ipv4', reject: 'icmp host-unreachable', error: 'EHOSTUNREACH' },
      { port: 7313, protocol: 'ipv6', reject: 'icmpv6 addr-unreachable', error: 'EHOSTUNREACH' },
      { port: 7314, protocol: 'ipv6', reject: 'icmpv6 admin-prohibited', error: 'EACCES' },
    ];
    // Otherwise the kernel leaves answers out that follow each other too fast.
    await server.exec('sysctl', '-q', '-w', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0');
    for (const { port, protocol, reject } of turnedAway)
      await server.nft(`add rule inet loss i meta nfproto ${protocol} tcp dport ${port} reject with ${reject}`);
    await Promise.all(
      turnedAway.map(async ({ port, protocol, error }, index) => {
        const address = protocol === 'ipv4' ? server.v4 : server.v6;
        const told = await client.exec('python3', '-c', CONNECT_ERRORS, address, `${port}`, `${index + 1}`);
        assert.deepEqual(told.trim().split(' '), Array(index + 1).fill(error));
      }),
    );
    await server.nft('flush chain inet loss i');
    for (const [index, { port, error }] of turnedAway.entries()) {
      const at = { server_port: String(port), tributary_side: 'client' };
      await untilSum('tributary_tcp_connect_error_count_total', { ...at, error_type: error }, index + 1);
      await untilSum('tributary_tcp_connect_error_count_total', at, index + 1);
    }
  });

  test('a connect without an answer: its SYNs, and the timeout', async () => {
    const PORT = 7304;
    await server.nft(`add rule inet loss i tcp dport ${PORT} drop`);
    const before = await readCounter(client, 'TcpExt', 'TCPSynRetrans');
    const { code } = await client.attempt('curl', '-sS', `http://${server.v4}:${PORT}/`);
    assert.equal(code, 28, 'curl: the connect timed out');
    await server.nft('flush chain inet loss i');
    const syns = (await readCounter(client, 'TcpExt', 'TCPSynRetrans')) - before;
    assert.ok(syns > 0);
    const at = { server_port: String(PORT), tributary_side: 'client' };
    await untilSum('tributary_tcp_connect_error_count_total', { ...at, error_type: 'ETIMEDOUT' }, 1);
    const kind = { tributary_tcp_retransmit_kind: 'syn' };
    await untilSum('tributary_tcp_retransmit_segment_count_total', { ...at, ...kind }, syns);
  });

  test('a reset in the middle: who sent it and when', async () => {
    const PORT = 7305;
    const [from, to] = [new Sockets(lab, 'cli'), new Sockets(lab, 'srv')];
    await to.order('listen', PORT);
    const socket = await from.order('connect', server.v4, PORT);
    const accepted = await to.order('accept');
    await from.order('send', socket, 100);
    await waitFor(
      async () => ((await server.exec('ss', '-Htn', `sport = :${PORT}`)).includes(' 100 ') ? true : undefined),
      'unread data',
    );
    await to.order('close', accepted);
    const at = { server_port: String(PORT), tributary_tcp_connection_phase: 'transfer' };
    await untilSum('tributary_tcp_reset_sent_count_total', { ...at, tributary_side: 'server' }, 1);
    await untilSum('tributary_tcp_reset_received_count_total', { ...at, tributary_side: 'client' }, 1);
  });

  test('a listener that does not accept: what finds its queue full', async () => {
    const PORT = 7306;
    const to = new Sockets(lab, 'srv');
    await to.order('listen', PORT, 1);
    // What there is room for: an acknowledgement that finds none is counted twice for the socket (bpf/README.md), a SYN once.
    const from = new Sockets(lab, 'cli');
    for (let count = 0; count < 2; count++) await from.order('connect', server.v4, PORT);
    await waitFor(async () => {
      const queued = await server.exec('ss', '-Htn', 'state', 'established', `sport = :${PORT}`);
      return queued.trim().split('\n').length === 2 || undefined;
    }, 'a full queue');
    const before = await readCounter(server, 'TcpExt', 'ListenDrops');
    const many = `import socket, time
sockets = [socket.socket() for _ in range(6)]
for one in sockets:
    one.setblocking(False)
    one.connect_ex(("${server.v4}", ${PORT}))
time.sleep(600)`;
    const connects = client.spawn('python3', ['-c', many], { stdio: 'ignore' });
    lab.others.push(connects);
    await waitFor(
      async () => ((await readCounter(server, 'TcpExt', 'ListenDrops')) >= before + 3 ? true : undefined),
      'an overflow',
    );
    connects.kill('SIGKILL');
    await waitFor(
      async () => ((await client.exec('ss', '-Htn', 'state', 'syn-sent')).trim() === '' ? true : undefined),
      'the connects to end',
    );
    const overflows = (await readCounter(server, 'TcpExt', 'ListenDrops')) - before;
    const at = { tributary_listener_port: String(PORT) };
    await untilSum('tributary_tcp_accept_queue_overflow_count_total', at, overflows);
  });

  test('the open ports of each host are those that it lists itself, as they come and go', async () => {
    const PORT = 7307;
    const holder = new Sockets(lab, 'srv');
    await holder.order('listen', PORT);
    const listed = async (host: LabHost): Promise<string[]> =>
      (await host.exec('ss', '-Htln'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => `${host.name} ${line.trim().split(/ +/)[3].split(':').at(-1)}`);
    const untilSame = () =>
      waitFor(
        async () => {
          const expected = [...(await listed(client)), ...(await listed(server))].sort();
          const told = (await lab.listeners()).listeners.map(({ node, port }) => `${node} ${port}`).sort();
          return told.join() === expected.join() ? told : undefined;
        },
        'the listeners that ss lists',
        { detail: () => lab.reducer.log.slice(-2000) },
      );
    assert.ok((await untilSame()).includes(`srv ${PORT}`));
    const one = (await lab.listeners()).listeners.find(({ port }) => port === PORT);
    assert.deepEqual([one?.address, one?.process], ['0.0.0.0', 'python3']);
    await holder.order('listen', PORT + 1);
    const later = await untilSame();
    assert.deepEqual([later.includes(`srv ${PORT}`), later.includes(`srv ${PORT + 1}`)], [false, true]);
  });
});
