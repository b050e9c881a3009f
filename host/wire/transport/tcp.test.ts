import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { formatAddress, isLocal, type ListenAddress, parseListenAddress } from './address.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import { assertReachable, type ConnectEvents, connect, Listener, type ListenerDependencies } from './tcp.ts';
import { giveToGroup } from './unix-socket.ts';

const ANY_PORT = { host: '127.0.0.1', port: 0 };

type Write = Parameters<Socket['_write']>;
type Writev = Parameters<NonNullable<Socket['_writev']>>;

/** Counts what it hands to the kernel. */
class CountingSocket extends Socket {
  writes = 0;

  override _write(...args: Write): void {
    this.writes++;
    super._write(...args);
  }

  override _writev(...args: Writev): void {
    this.writes++;
    super._writev?.(...args);
  }
}

test('addresses are read in four forms and printed as they are read', () => {
  const cases: [string, ListenAddress, string][] = [
    ['10.0.0.1:4400', { host: '10.0.0.1', port: 4400 }, '10.0.0.1:4400'],
    ['reducer.example:1', { host: 'reducer.example', port: 1 }, 'reducer.example:1'],
    ['[2001:db8::1]:65535', { host: '2001:db8::1', port: 65535 }, '[2001:db8::1]:65535'],
    [':4400', { host: '::', port: 4400 }, '[::]:4400'],
    ['unix:/run/a:b.sock', { path: '/run/a:b.sock' }, 'unix:/run/a:b.sock'],
  ];
  for (const [text, address, printed] of cases) {
    assert.deepEqual(parseListenAddress(text), address);
    assert.equal(formatAddress(address), printed);
  }
  for (const text of [
    '',
    'host',
    'host:',
    'host:x',
    'host:65536',
    '::1:4400',
    '[::1]',
    '[host]:1',
    'unix:',
    `unix:${'p'.repeat(108)}`,
  ]) {
    assert.throws(() => parseListenAddress(text), { code: 'TRB_ADDRESS' }, text);
  }
});

test('plaintext stays on this host unless insecure is given', () => {
  for (const text of ['127.9.9.9:1', '[::1]:1', 'localhost:1', 'unix:/x', '[::ffff:127.0.0.1]:1']) {
    assert.equal(isLocal(parseListenAddress(text)), true, text);
  }
  for (const text of [':1', '0.0.0.0:1', '10.0.0.1:1', '[2001:db8::1]:1', 'localhost.example:1']) {
    const address = parseListenAddress(text);
    assert.equal(isLocal(address), false, text);
    assert.throws(() => assertReachable({ address, insecure: false }, false), {
      code: 'TRB_INSECURE',
      message: /--insecure/,
    });
    assertReachable({ address, insecure: true }, false);
    assertReachable({ address, insecure: false }, true);
  }
});

/** Collects what happens on a connection and echoes nothing. */
class Recorder implements ConnectEvents {
  readonly pieces: Uint8Array[] = [];
  readonly isClosed = Promise.withResolvers<Error | undefined>();
  readonly isDrained = Promise.withResolvers<void>();
  connection: Connection | undefined;
  onBytes: () => void = () => {};
  onConnected: () => void = () => {};

  securing(): void {}

  connected(): void {
    this.onConnected();
  }

  bytes(piece: Uint8Array): void {
    this.pieces.push(piece);
    this.onBytes();
  }

  drained(): void {
    this.isDrained.resolve();
  }

  closed(error: Error | undefined): void {
    this.isClosed.resolve(error);
  }

  get text(): string {
    return Buffer.concat(this.pieces).toString();
  }
}

function listening(accept: (connection: Connection) => ConnectionEvents): ListenerDependencies {
  return { accept, refused: ({ refusal }) => assert.fail(refusal) };
}

function inTemporaryFolder(use: (folder: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tributary-tcp-'));
    try {
      await use(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };
}

async function exchange(address: ListenAddress): Promise<void> {
  const server = new Recorder();
  const accept = (connection: Connection): ConnectionEvents => {
    server.connection = connection;
    return server;
  };
  const listener = new Listener({ address, insecure: false }, listening(accept));
  await listener.start();
  server.onBytes = () => {
    if (!server.text.endsWith('bye')) return;
    server.connection?.send(Buffer.from('goodbye'));
    server.connection?.close();
  };
  const client = new Recorder();
  client.onConnected = () => connection.send(Buffer.from('hello, bye'));
  const connection = connect({ address: listener.address, insecure: false }, client);
  assert.equal(await client.isClosed.promise, undefined);
  assert.equal(server.text, 'hello, bye');
  assert.equal(client.text, 'goodbye', 'what was sent before close arrives');
  await server.isClosed.promise;
  await listener.stop();
}

test('bytes go both ways over IPv4', () => exchange(ANY_PORT));

test('bytes go both ways over IPv6', () => exchange({ host: '::1', port: 0 }));

test(
  'a unix socket is for its owner and group, and the file of a killed process is replaced, but no other file and no live socket',
  inTemporaryFolder(async (folder) => {
    const path = join(folder, 'socket');
    const code = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
    const killed = spawn(process.execPath, ['-e', code]);
    await once(killed.stdout, 'data');
    const second = new Listener(
      { address: { path }, insecure: false },
      listening(() => new Recorder()),
    );
    await assert.rejects(second.start(), { code: 'TRB_LISTEN_IN_USE' });
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    await exchange({ path });
    const listener = new Listener(
      { address: { path }, insecure: false },
      listening(() => new Recorder()),
    );
    await listener.start();
    assert.equal(statSync(path).mode & 0o777, 0o660);
    await listener.stop();
    assert.deepEqual(readdirSync(folder), []);
    const file = join(folder, 'file');
    writeFileSync(file, 'precious');
    const third = new Listener(
      { address: { path: file }, insecure: false },
      listening(() => new Recorder()),
    );
    await assert.rejects(third.start(), { code: 'TRB_LISTEN' });
    assert.equal(statSync(file).size, 8);
  }),
);

test(
  'what belongs to the group gets the id that the machine has for it, and stays as it is without one',
  { skip: process.getuid?.() === 0 ? false : 'only root may give a file to a group' },
  inTemporaryFolder(async (folder) => {
    const [file, groups] = [join(folder, 'file'), join(folder, 'group')];
    writeFileSync(file, '');
    writeFileSync(groups, 'root:x:0:\nnottributary:x:7:\n');
    await giveToGroup(file, groups);
    assert.equal(statSync(file).gid, process.getgid?.());
    writeFileSync(groups, 'root:x:0:\ntributary:x:4242:somebody\n');
    await giveToGroup(file, groups);
    assert.equal(statSync(file).gid, 4242);
  }),
);

test('a port that is taken is an error that names it', async () => {
  const first = new Listener(
    { address: ANY_PORT, insecure: false },
    listening(() => new Recorder()),
  );
  await first.start();
  const second = new Listener(
    { address: first.address, insecure: false },
    listening(() => new Recorder()),
  );
  await assert.rejects(second.start(), {
    code: 'TRB_LISTEN_IN_USE',
    message: new RegExp(formatAddress(first.address)),
  });
  await first.stop();
});

test('a reader that does not read makes send return false, and drained follows when it does', async () => {
  const server = new Recorder();
  const accepted = Promise.withResolvers<Connection>();
  const accept = (connection: Connection): ConnectionEvents => {
    accepted.resolve(connection);
    return server;
  };
  const listener = new Listener({ address: ANY_PORT, insecure: false }, listening(accept));
  await listener.start();
  const { address } = listener;
  assert.ok('port' in address);
  const slow = createConnection(address.port, address.host);
  slow.pause();
  const connection = await accepted.promise;
  const piece = new Uint8Array(1 << 20);
  let sent = 0;
  while (connection.send(piece)) sent++;
  assert.ok(sent < 64);
  slow.resume();
  await server.isDrained.promise;
  slow.destroy();
  await server.isClosed.promise;
  await listener.stop();
});

test('what is sent while a connection is corked is one write', async (context) => {
  const server = createServer((peer) => peer.pipe(peer)).listen(0, '127.0.0.1');
  context.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = new CountingSocket().connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const connection = new Connection(socket);
  const echoed = Promise.withResolvers<void>();
  let bytes = '';
  connection.listen({
    bytes: (piece) => {
      bytes += Buffer.from(piece).toString();
      if (bytes.length === 6) echoed.resolve();
    },
    drained: () => {},
    closed: () => {},
  });
  connection.cork();
  for (const text of ['a', 'b', 'c']) connection.send(Buffer.from(text));
  assert.equal(socket.writes, 0);
  connection.uncork();
  assert.equal(socket.writes, 1);
  for (const text of ['d', 'e', 'f']) connection.send(Buffer.from(text));
  await echoed.promise;
  assert.deepEqual([bytes, socket.writes], ['abcdef', 4]);
  connection.cork();
  connection.send(Buffer.from('g'));
  const closed = once(socket, 'close');
  connection.close();
  await closed;
  assert.equal(socket.writes, 5, 'a close sends what was corked');
});

test('a connect that is given up or refused is reported as closed', async () => {
  const refused = new Recorder();
  const listener = new Listener(
    { address: ANY_PORT, insecure: false },
    listening(() => new Recorder()),
  );
  await listener.start();
  const { address } = listener;
  await listener.stop();
  refused.onConnected = () => assert.fail('connected');
  connect({ address, insecure: false }, refused);
  assert.equal(((await refused.isClosed.promise) as NodeJS.ErrnoException).code, 'ECONNREFUSED');
  const given = new Recorder();
  given.onConnected = refused.onConnected;
  connect({ address, insecure: false }, given).close();
  await given.isClosed.promise;
});

test('two threads listen on one port and both get connections', async () => {
  const source = `
    import { parentPort, workerData } from 'node:worker_threads';
    const { Listener } = await import(workerData.module);
    const accept = () => {
      parentPort.postMessage('connection');
      return { bytes() {}, drained() {}, closed() {} };
    };
    const listener = new Listener({ address: workerData.address, insecure: false, reusePort: true }, { accept });
    await listener.start();
    parentPort.postMessage(listener.address);
    parentPort.once('message', async () => { await listener.stop(); });
  `;
  const module = new URL('./tcp.ts', import.meta.url).href;
  const start = async (address: ListenAddress): Promise<{ worker: Worker; address: ListenAddress }> => {
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
    const worker = new Worker(url, { workerData: { module, address } });
    const [bound] = await once(worker, 'message');
    return { worker, address: bound };
  };
  const first = await start(ANY_PORT);
  const second = await start(first.address);
  const counts = [0, 0];
  const enough = Promise.withResolvers<void>();
  for (const [index, { worker }] of [first, second].entries()) {
    worker.on('message', () => {
      counts[index]++;
      if (counts[0] + counts[1] === 64) enough.resolve();
    });
  }
  const { address } = first;
  assert.ok('port' in address);
  const sockets = Array.from({ length: 64 }, () => createConnection(address.port, address.host));
  await enough.promise;
  assert.ok(counts[0] > 0 && counts[1] > 0, `${counts}`);
  for (const socket of sockets) socket.destroy();
  for (const { worker } of [first, second]) {
    worker.postMessage('stop');
    await once(worker, 'exit');
  }
});
