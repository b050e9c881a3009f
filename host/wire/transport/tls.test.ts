// Wrong clients against a listener for TLS, OpenSSL's own s_client among them: each is refused, for its own reason, and hears it if it can.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { seededRandom } from '../../lib/random.ts';
import type { Credentials } from '../../tls/credentials.ts';
import type { HandshakeRefusal, RefusedConnection } from '../../tls/refusal.ts';
import { TestAuthority, type TestCertificateOptions } from '../../tls/testing/test-credentials.ts';
import { decodeControl } from '../control.ts';
import { FrameDecoder } from '../frame-decoder.ts';
import { FrameKind, GoodbyeReason } from '../gen/wire-layout.ts';
import type { Connection, ConnectionEvents } from './connection.ts';
import { Handshakes } from './handshakes.ts';
import { describeFailure } from './secure-connect.ts';
import { type ConnectOptions, connect, Listener } from './tcp.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const ANY_PORT = { host: '127.0.0.1', port: 0 };

/** Echoes, and notes who came and who was refused. */
class Echo {
  readonly listener: Listener;
  readonly accepted: Connection[] = [];
  readonly refused: RefusedConnection[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(credentials?: Credentials) {
    const options = { address: ANY_PORT, insecure: false, ...(credentials === undefined ? {} : { credentials }) };
    this.listener = new Listener(options, {
      accept: (connection) => this.#accept(connection),
      refused: (refused) => {
        this.refused.push(refused);
        this.#tell();
      },
    });
  }

  get port(): number {
    const { address } = this.listener;
    assert.ok('port' in address);
    return address.port;
  }

  /** The next refusal beyond the first `count`. */
  async refusal(count: number): Promise<RefusedConnection> {
    while (this.refused.length <= count) await this.#changed.promise;
    return this.refused[count];
  }

  async stop(): Promise<void> {
    for (const connection of this.accepted) connection.close();
    await this.listener.stop();
  }

  #accept(connection: Connection): ConnectionEvents {
    this.accepted.push(connection);
    this.#tell();
    return { bytes: (piece) => connection.send(piece), drained: () => {}, closed: () => {} };
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

interface Heard {
  text: string;
  isConnected: boolean;
  error: Error | undefined;
}

/** Connects, says hello once connected, and waits for the end, or for the echo and then ends. */
async function say(options: ConnectOptions, text = 'hello'): Promise<Heard> {
  const heard: Heard = { text: '', isConnected: false, error: undefined };
  const ended = Promise.withResolvers<void>();
  const connection = connect(options, {
    securing: () => {},
    connected: () => {
      heard.isConnected = true;
      connection.send(Buffer.from(text));
    },
    bytes: (piece) => {
      heard.text += Buffer.from(piece).toString('latin1');
      if (heard.text === text) connection.close();
    },
    drained: () => {},
    closed: (error) => {
      heard.error = error;
      ended.resolve();
    },
  });
  await ended.promise;
  return heard;
}

function goodbyeIn(bytes: Buffer): string | undefined {
  const decoder = new FrameDecoder();
  decoder.push(bytes);
  const frame = decoder.next();
  if (frame?.kind !== FrameKind.Goodbye) return undefined;
  const reason = decodeControl('Goodbye', frame.payload)?.reason;
  return Object.entries(GoodbyeReason).find(([, value]) => value === reason)?.[0];
}

describe('a listener for TLS', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-tls-'));
  let authority: TestAuthority;
  let stranger: TestAuthority;
  let echo: Echo;
  let own: Credentials;

  before(async () => {
    authority = await TestAuthority.create();
    stranger = await TestAuthority.create();
    own = await authority.issue();
    writeFileSync(join(folder, 'ca.pem'), authority.certificate);
    echo = new Echo(await authority.issue({ name: 'reducer.test' }));
    await echo.listener.start();
  });
  after(async () => {
    await echo.stop();
    rmSync(folder, { recursive: true });
  });

  const reach = (credentials: Credentials, serverName?: string): ConnectOptions => ({
    ...{ address: { host: '127.0.0.1', port: echo.port }, insecure: false },
    tls: { credentials: () => credentials, ...(serverName === undefined ? {} : { serverName }) },
  });

  /** Runs s_client and returns everything that it printed. */
  async function openssl(credentials: Credentials | undefined, ...flags: string[]): Promise<Buffer> {
    const files = credentials === undefined ? [] : identityFiles(folder, credentials);
    const address = ['-connect', `127.0.0.1:${echo.port}`, '-CAfile', join(folder, 'ca.pem')];
    const child = spawn('openssl', ['s_client', ...address, '-alpn', 'tributary/1', '-quiet', ...files, ...flags], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const pieces: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
    child.stdin.on('error', () => {});
    await once(child, 'close');
    return Buffer.concat(pieces);
  }

  test('takes an agent with a certificate, whose names it knows', async () => {
    const heard = await say(reach(own));
    assert.deepEqual(heard, { text: 'hello', isConnected: true, error: undefined });
    assert.deepEqual(echo.accepted.at(-1)?.certificate?.names, ['host.test', '127.0.0.1']);
    assert.match(echo.accepted.at(-1)?.peer ?? '', /^127\.0\.0\.1:\d+$/);
    assert.equal((await say(reach(own, 'reducer.test'))).text, 'hello', 'by its name, too');
    assert.deepEqual(echo.refused, []);
  });

  const CERTIFICATES: [string, TestCertificateOptions | undefined, HandshakeRefusal, keyof typeof GoodbyeReason][] = [
    ['no certificate', undefined, 'no_certificate', 'NoCertificate'],
    ['an expired one', { issuedInDays: -50, days: 10 }, 'certificate_expired', 'CertificateExpired'],
    ['one of the future', { issuedInDays: 50 }, 'certificate_not_yet_valid', 'CertificateRefused'],
    ['one for servers', { purposes: ['server'] }, 'certificate_purpose', 'CertificateRefused'],
  ];
  for (const [name, options, refusal, goodbye] of CERTIFICATES) {
    test(`refuses a client with ${name}, and tells it`, async () => {
      const count = echo.refused.length;
      const printed = await openssl(options && (await authority.issue(options)));
      const refused = await echo.refusal(count);
      assert.equal(refused.refusal, refusal);
      assert.match(refused.peer, /^127\.0\.0\.1:\d+$/);
      if (options !== undefined) assert.match(refused.detail, /CN=host\.test from CN=test authority, serial [0-9A-F]+/);
      assert.equal(goodbyeIn(printed), goodbye);
      assert.equal(echo.refused.length, count + 1, 'counted once');
    });
  }

  test('refuses a certificate of another authority, though it has the same name, and tells it', async () => {
    const count = echo.refused.length;
    const printed = await openssl(await stranger.issue());
    assert.equal((await echo.refusal(count)).refusal, 'unknown_authority');
    assert.equal(goodbyeIn(printed), 'UnknownAuthority');
  });

  for (const version of ['-tls1_1', '-tls1_2']) {
    // A listener that takes the version keeps the connection, and nothing is refused.
    test(`refuses ${version}`, { timeout: 60_000 }, async () => {
      const count = echo.refused.length;
      await openssl(own, version, '-cipher', 'DEFAULT@SECLEVEL=0');
      assert.equal((await echo.refusal(count)).refusal, 'tls_version');
    });
  }

  test('refuses a client that does not speak the protocol of agents', async () => {
    const count = echo.refused.length;
    await openssl(own, '-alpn', 'h2');
    assert.equal((await echo.refusal(count)).refusal, 'protocol');
  });

  test('refuses plaintext, and says in plaintext what it wants', async () => {
    for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(64, 8)]) {
      const count = echo.refused.length;
      const socket = createConnection(echo.port, '127.0.0.1');
      const pieces: Buffer[] = [];
      socket.on('data', (piece: Buffer) => pieces.push(piece));
      socket.write(bytes);
      await once(socket, 'close');
      assert.equal((await echo.refusal(count)).refusal, 'plaintext');
      assert.equal(goodbyeIn(Buffer.concat(pieces)), 'TlsRequired');
    }
  });

  test('refuses what begins like TLS and is none', async () => {
    const count = echo.refused.length;
    const socket = createConnection(echo.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5, 6]));
    socket.resume();
    await once(socket, 'close');
    assert.equal((await echo.refusal(count)).refusal, 'broken');
  });

  test('counts who breaks off as one of them', async () => {
    const count = echo.refused.length;
    const socket = createConnection(echo.port, '127.0.0.1', () => socket.destroy());
    await once(socket, 'close');
    assert.equal((await echo.refusal(count)).refusal, 'abandoned');
  });

  test('resumes no session: who comes back shows a certificate again', async () => {
    const session = join(folder, 'session');
    const accepted = echo.accepted.length;
    const sclient = spawn('openssl', [
      ...['s_client', '-connect', `127.0.0.1:${echo.port}`, '-alpn', 'tributary/1', '-sess_out', session],
      ...identityFiles(folder, own),
    ]);
    sclient.stdin.write('a line that comes back');
    for (let text = ''; !text.includes('comes back'); ) text += String((await once(sclient.stdout, 'data'))[0]);
    sclient.stdin.end();
    await once(sclient, 'close');
    assert.equal(echo.accepted.length, accepted + 1);
    assert.ok(statSync(session).size > 0, 'a session to come back with');
    const count = echo.refused.length;
    await openssl(undefined, '-sess_in', session);
    assert.equal((await echo.refusal(count)).refusal, 'no_certificate');
  });

  test('an agent says what is wrong with the reducer, and shows it nothing', async () => {
    const foreign = await stranger.issue();
    const accepted = echo.accepted.length;
    const cases: [ConnectOptions, RegExp][] = [
      [reach({ ...own, ca: foreign.ca }), /certificate of the reducer is not from an authority in tls\.ca/],
      [reach(own, 'other.test'), /Host: other\.test\. is not in the cert's altnames: DNS:reducer\.test/],
      [reach(own, '127.0.0.9'), /127\.0\.0\.9/],
    ];
    for (const [options, words] of cases) {
      const count = echo.refused.length;
      const { error, isConnected } = await say(options);
      assert.match(describeFailure(error), words);
      assert.equal(isConnected, false);
      assert.equal((await echo.refusal(count)).refusal, 'abandoned');
    }
    assert.equal(echo.accepted.length, accepted);
  });

  test('new certificates are for new connections, and old connections go on', async () => {
    const next = await TestAuthority.create();
    const old = connectEcho(reach(own));
    assert.equal(await old.exchange('before'), 'before');
    echo.listener.renew(await next.issue({ name: 'reducer.test' }));
    const count = echo.refused.length;
    assert.match(describeFailure((await say(reach(own))).error), /not from an authority/);
    await echo.refusal(count);
    assert.equal((await say(reach(await next.issue()))).text, 'hello');
    assert.equal(await old.exchange('after'), 'after');
    old.close();
    echo.listener.renew(await authority.issue({ name: 'reducer.test' }));
    assert.equal((await say(reach(own))).text, 'hello');
  });
});

/** A connection that stays. */
function connectEcho(options: ConnectOptions): { exchange(text: string): Promise<string>; close(): void } {
  let heard = '';
  let news = Promise.withResolvers<void>();
  const open = Promise.withResolvers<void>();
  const connection = connect(options, {
    securing: () => {},
    connected: () => open.resolve(),
    bytes: (piece) => {
      heard += Buffer.from(piece).toString();
      news.resolve();
    },
    drained: () => {},
    closed: () => {},
  });
  return {
    async exchange(text) {
      await open.promise;
      heard = '';
      connection.send(Buffer.from(text));
      while (heard.length < text.length) {
        await news.promise;
        news = Promise.withResolvers();
      }
      return heard;
    },
    close: () => connection.close(),
  };
}

function identityFiles(folder: string, { cert, key }: Credentials): string[] {
  writeFileSync(join(folder, 'cert.pem'), cert);
  writeFileSync(join(folder, 'key.pem'), key);
  return ['-cert', join(folder, 'cert.pem'), '-key', join(folder, 'key.pem')];
}

test('TLS to a plaintext listener is refused on the one side and explained on the other', async () => {
  const echo = new Echo();
  await echo.listener.start();
  const own = await (await TestAuthority.create()).issue();
  const address = { host: '127.0.0.1', port: echo.port };
  const { error } = await say({ address, insecure: false, tls: { credentials: () => own } });
  assert.match(describeFailure(error), /the reducer answers in plaintext/);
  assert.equal((await echo.refusal(0)).refusal, 'tls_to_plaintext');
  await echo.stop();
});

test('a ClientHello in several pieces is one refusal, and none of it is taken for frames', async (context) => {
  const refused: RefusedConnection[] = [];
  let bytesHeard = 0;
  const closed = Promise.withResolvers<void>();
  const bytes = (piece: Uint8Array): void => {
    bytesHeard += piece.length;
  };
  const listener = new Listener(
    { address: ANY_PORT, insecure: false },
    {
      accept: () => ({ bytes, drained: () => {}, closed: () => closed.resolve() }),
      refused: (each) => refused.push(each),
    },
  );
  await listener.start();
  context.after(() => listener.stop());
  const { address } = listener;
  assert.ok('port' in address);
  const socket = createConnection({ ...address, allowHalfOpen: true });
  socket.write(Buffer.of(0x16, 0x03, 0x01));
  const [goodbye] = (await once(socket, 'data')) as [Buffer];
  assert.equal(goodbyeIn(goodbye), 'ProtocolVersion');
  socket.end(Buffer.alloc(4_096, 0x01));
  await closed.promise;
  assert.deepEqual([refused.map(({ refusal }) => refusal), bytesHeard], [['tls_to_plaintext'], 0]);
});

/** Sockets that were accepted, handed to handshakes with small limits. */
async function limited(
  context: TestContext,
  limits: { timeoutMs?: number; countMax?: number; countPerAddressMax?: number },
): Promise<{ handshakes: Handshakes; refused: RefusedConnection[]; open: () => Promise<Socket> }> {
  const credentials = await (await TestAuthority.create()).issue();
  const refused: RefusedConnection[] = [];
  const handshakes = new Handshakes(
    { credentials, ...limits },
    { secured: () => assert.fail('secured'), refused: (each) => refused.push(each) },
  );
  let taken = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    handshakes.take(socket);
    taken.resolve();
  });
  server.listen(ANY_PORT);
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const sockets: Socket[] = [];
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    handshakes.stop();
    server.close();
  });
  const open = async (): Promise<Socket> => {
    taken = Promise.withResolvers();
    const socket = createConnection(address.port, address.address).resume();
    socket.on('error', () => {});
    sockets.push(socket);
    await taken.promise;
    return socket;
  };
  return { handshakes, refused, open };
}

test('whoever connects and does not go on is cut off, before the first byte and after it', async (context) => {
  const { handshakes, refused, open } = await limited(context, { timeoutMs: 200 });
  // Before the next one is open its time may be over.
  const silentClosed = once(await open(), 'close');
  const stalled = await open();
  stalled.write(Buffer.from([0x16, 3, 1]));
  await Promise.all([silentClosed, once(stalled, 'close')]);
  assert.deepEqual(
    refused.map(({ refusal }) => refusal),
    ['timeout', 'timeout'],
  );
  assert.equal(handshakes.pendingCount, 0);
});

for (const limit of ['countMax', 'countPerAddressMax'] as const) {
  test(`beyond ${limit} a connection is closed at once, and there is room again when another ends`, async (context) => {
    const { handshakes, refused, open } = await limited(context, { [limit]: 2 });
    const first = await open();
    await open();
    await once(await open(), 'close');
    assert.deepEqual(
      refused.map(({ refusal }) => refusal),
      ['too_many'],
    );
    first.destroy();
    while (handshakes.pendingCount > 1) await new Promise((resolve) => setTimeout(resolve, 10));
    await open();
    assert.equal(handshakes.pendingCount, 2);
    assert.deepEqual(
      refused.map(({ refusal }) => refusal),
      ['too_many', 'abandoned'],
    );
  });
}

test('whatever clients do, each connection is accepted or refused, once', async () => {
  console.log(`seed ${SEED}`);
  const random = seededRandom(SEED);
  const authority = await TestAuthority.create();
  const own = await authority.issue();
  const echo = new Echo(await authority.issue());
  await echo.listener.start();
  const address = { host: '127.0.0.1', port: echo.port };
  const bytes = (count: number): Buffer => Buffer.from(Array.from({ length: count }, () => Math.floor(random() * 256)));
  const tlsLike = (): Buffer => Buffer.concat([Buffer.from([0x16, 3, 1]), bytes(Math.floor(random() * 600))]);
  const write = async (text: Buffer, hangsUp: boolean): Promise<void> => {
    const socket = createConnection(address).resume();
    socket.on('error', () => {});
    socket.write(text, () => {
      // What is only the beginning of a handshake would otherwise be waited for.
      if (hangsUp || text[0] === 0x16) socket.destroy();
    });
    await once(socket, 'close');
  };
  const foreign = await TestAuthority.create();
  const stranger = { ...(await foreign.issue()), ca: authority.certificate };
  const moves: (() => Promise<unknown>)[] = [
    () => say({ address, insecure: false, tls: { credentials: () => own } }),
    () => say({ address, insecure: false, tls: { credentials: () => stranger } }),
    () => say({ address, insecure: false, tls: { credentials: () => own, serverName: 'other' } }),
    () => write(bytes(1 + Math.floor(random() * 100)), random() < 0.5),
    () => write(tlsLike(), true),
  ];
  const counts = moves.map(() => 0);
  for (let round = 0; round < 20; round++) {
    const picked = Array.from({ length: 10 }, () => Math.floor(random() * moves.length));
    for (const index of picked) counts[index]++;
    await Promise.all(picked.map((index) => moves[index]()));
  }
  const total = counts.reduce((sum, count) => sum + count);
  while (echo.accepted.length + echo.refused.length < total) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(echo.accepted.length, counts[0], 'those with a certificate, and nobody else');
  assert.equal(echo.refused.length, total - counts[0]);
  assert.equal(echo.refused.filter(({ refusal }) => refusal === 'unknown_authority').length, counts[1]);
  await echo.stop();
});
