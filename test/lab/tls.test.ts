// Agents and a reducer with certificates: wrong clients are refused, counted and named, and certificates that are replaced under load cost no byte.

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { Credentials } from '../../host/tls/credentials.ts';
import { HANDSHAKE_REFUSALS, type HandshakeRefusal } from '../../host/tls/refusal.ts';
import { TestAuthority } from '../../host/tls/testing/test-credentials.ts';
import { CertificateFolder } from './certificates.ts';
import { closedAtBothEnds, sumsOf } from './edge-sums.ts';
import { assertBooked, runIperf, startIperfServer } from './iperf.ts';
import { Lab, REDUCER_PORT, type Role } from './lab.ts';
import { waitFor } from './wait.ts';

const METRICS_PORT = 9464;
const IPERF_SECONDS = 25;
const ROUNDS = 3;
/** The reducer gives a handshake 10 s. */
const PATIENCE_MS = 60_000;

const occurrences = (role: Role, pattern: RegExp): number => [...role.log.matchAll(pattern)].length;

async function saidAgain(role: Role, pattern: RegExp, count: number): Promise<void> {
  await waitFor(
    () => (occurrences(role, pattern) >= count ? true : undefined),
    `${role.name} to log ${pattern} ${count} times`,
    { timeoutMs: PATIENCE_MS, detail: () => role.log.slice(-6_000) },
  );
}

describe('hosts with certificates', { concurrency: false }, () => {
  const files = new CertificateFolder();
  const lab = new Lab({
    hosts: ['cli', 'srv', 'idle'],
    unwatched: ['idle'],
    reducerArgs: [...files.flags('reducer'), '--prometheus-listen', `127.0.0.1:${METRICS_PORT}`],
    agentArgs: (host) => files.flags(host),
  });
  let authority: TestAuthority;

  before(async () => {
    authority = await TestAuthority.create();
    for (const host of ['reducer', 'cli', 'srv']) files.write(host, await authority.issue({ name: host }));
    await lab.start();
  });
  after(async () => {
    await lab.stop();
    files.remove();
  });

  /** Handshakes by what became of them, as a Prometheus would see them. */
  async function handshakes(): Promise<Record<string, number>> {
    const identity = [
      '--cacert',
      files.path('cli', 'ca'),
      '--cert',
      files.path('cli', 'cert'),
      '--key',
      files.path('cli', 'key'),
    ];
    const { output } = await lab.island.attempt(
      'curl',
      '-sS',
      ...identity,
      `https://127.0.0.1:${METRICS_PORT}/metrics`,
    );
    const found = output.matchAll(/^tributary_tls_handshake_count_total\{.*tributary_reason="(\w+)".*\} (\d+)/gm);
    return Object.fromEntries([...found].map(([, reason, count]) => [reason, Number(count)]));
  }

  async function untilCounted(reason: HandshakeRefusal, count: number): Promise<void> {
    let last: Record<string, number> = {};
    await waitFor(
      async () => {
        last = await handshakes();
        return (last[reason] ?? 0) >= count ? true : undefined;
      },
      `${count} handshakes to be counted as ${reason}`,
      { timeoutMs: PATIENCE_MS, detail: () => `${JSON.stringify(last)}\n${lab.reducer.log.slice(-2_000)}` },
    );
  }

  async function sClient(credentials: Credentials | undefined, ...flags: string[]): Promise<void> {
    if (credentials !== undefined) files.write('wrong', credentials);
    const identity = ['-cert', files.path('wrong', 'cert'), '-key', files.path('wrong', 'key')];
    await lab.island.attempt(
      ...(['timeout', '30', 'openssl', 's_client', '-quiet', '-connect', `127.0.0.1:${REDUCER_PORT}`] as const),
      ...['-alpn', 'tributary/1', ...(credentials === undefined ? [] : identity), ...flags],
    );
  }

  /** Opens a TCP connection and writes `text` to it, if there is one, until the reducer ends it. */
  const plain = (text: string): Promise<unknown> =>
    lab.island.attempt(
      'timeout',
      '30',
      'bash',
      '-c',
      `exec 3<>/dev/tcp/127.0.0.1/${REDUCER_PORT}; printf '%s' '${text}' >&3; cat <&3`,
    );

  test('each wrong client is refused for its reason, which is counted and logged with its address', async () => {
    const stranger = await TestAuthority.create();
    const cases: [HandshakeRefusal, () => Promise<unknown>][] = [
      ['no_certificate', () => sClient(undefined)],
      ['unknown_authority', async () => sClient(await stranger.issue())],
      ['certificate_expired', async () => sClient(await authority.issue({ issuedInDays: -50, days: 10 }))],
      ['certificate_purpose', async () => sClient(await authority.issue({ purposes: ['server'] }))],
      ['tls_version', async () => sClient(await authority.issue(), '-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0')],
      ['protocol', async () => sClient(await authority.issue(), '-alpn', 'http/1.1')],
      ['plaintext', () => plain('GET / HTTP/1.1')],
      ['timeout', () => plain('')],
    ];
    for (const [reason, attempt] of cases) {
      await attempt();
      await untilCounted(reason, 1);
      const words = HANDSHAKE_REFUSALS[reason].replaceAll(/[.()]/g, '\\$&');
      await lab.reducer.logged(new RegExp(`"reason":"${reason}","peer":"127\\.0\\.0\\.1:\\d+".*refused: ${words}`));
    }
    const { accepted, ...refused } = await handshakes();
    assert.deepEqual(refused, Object.fromEntries(cases.map(([reason]) => [reason, 1])), 'each once');
    assert.ok(accepted >= 2);
  });

  test('an agent that is refused says why, and comes in without a restart when its files are right', async () => {
    const stranger = await TestAuthority.create();
    files.write('idle', { ...(await stranger.issue()), ca: authority.certificate });
    const agent = lab.startAgent('idle');
    await agent.logged(/connection lost: goodbye: this agent's certificate is not from an authority that it knows/);
    files.write('idle', await stranger.issue());
    await agent.logged(/new certificates are in use/);
    await agent.logged(
      /connection lost: handshake: the certificate of the reducer is not from an authority in tls\.ca/,
    );
    await untilCounted('abandoned', 1);
    files.write('idle', await authority.issue({ name: 'idle' }));
    await agent.logged(/connected to 127\.0\.0\.1/);
    await agent.kill();
  });

  test(`certificates of all are replaced ${ROUNDS} times under load, the authority with them, and no byte is lost`, async (t) => {
    const [port, server] = [5201, lab.network.host('srv')];
    await startIperfServer(lab, 'srv', port);
    const running = runIperf(lab, 'cli', server.v4, port, '-t', String(IPERF_SECONDS), '-b', '60M');
    let isRunning = true;
    let roundsUnderLoad = 0;
    void running.finally(() => {
      isRunning = false;
    });
    const roles: [string, Role][] = [
      ['reducer', lab.reducer],
      ...['cli', 'srv'].map((host): [string, Role] => [host, lab.agents.get(host) ?? assert.fail(host)]),
    ];
    for (let round = 1; round <= ROUNDS; round++) {
      // Both authorities are trusted before anybody shows a certificate of the new one.
      const next = await TestAuthority.create();
      const current = authority;
      const ca = next.certificate + current.certificate;
      for (const issuer of [current, next]) {
        const before = roles.map(([, role]) => occurrences(role, /new certificates are in use/g));
        for (const [host] of roles) files.write(host, { ...(await issuer.issue({ name: host })), ca });
        for (const [index, [, role]] of roles.entries())
          await saidAgain(role, /new certificates are in use/g, before[index] + 1);
      }
      authority = next;
      await reconnect();
      for (const host of ['cli', 'srv']) {
        const { serialNumber } = new X509Certificate(readCertificate(host));
        await lab.reducer.logged(new RegExp(`"serial":"${serialNumber}".*agent came back`));
      }
      if (isRunning) roundsUnderLoad++;
      t.diagnostic(`round ${round}: new authority, new certificates, new connections`);
    }
    const report = await running;
    assert.ok(roundsUnderLoad > 0, 'the traffic ended too early');
    const edges = await lab.untilEdges('role_role', 'iperf3 to be booked', closedAtBothEnds(port, 2));
    const sums = sumsOf(edges);
    assertBooked(sums.forward, report);
    assert.equal(sums.connections, 2);
  });

  /** A firewall resets what the agents say until they are gone, and lets them in again. */
  async function reconnect(): Promise<void> {
    const [parted, back] = [occurrences(lab.reducer, /agent parted/g), occurrences(lab.reducer, /agent came back/g)];
    await lab.island.nft(`table ip cut {
      chain out { type filter hook output priority 0; tcp dport ${REDUCER_PORT} tcp flags & rst == 0 reject with tcp reset; }
    }`);
    await saidAgain(lab.reducer, /agent parted/g, parted + 2);
    await lab.island.nft('delete table ip cut');
    await saidAgain(lab.reducer, /agent came back/g, back + 2);
  }

  const readCertificate = (host: string): string => readFileSync(files.path(host, 'cert'), 'utf8');
});
