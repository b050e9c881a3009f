// A socket program for the tests: it does what it is told over IPC, in the network namespace that it was started in, and its
// own byte counts are the truth that the collector is compared with.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export interface ListenOptions {
  host: string;
  port?: number;
  /** Connections that wait for accept(), less one. */
  backlog?: number;
  /** The application never reads, so what arrives stays in the kernel. */
  neverRead?: boolean;
}

export interface ConnectOptions {
  host: string;
  port: number;
  /** Returns at once, with the connect under way. */
  inBackground?: boolean;
  neverRead?: boolean;
  localPort?: number;
}

/** Received and sent by this program, bytes. */
export interface Counts {
  sent: number;
  received: number;
}

interface Entry extends Counts {
  socket: Socket;
  /** The peer's FIN was read. */
  ended: boolean;
  changed: (() => void)[];
}

const entries: Entry[] = [];
const accepted: number[] = [];
const waiting: ((socket: number) => void)[] = [];
const servers: Server[] = [];

function adopt(socket: Socket): number {
  const entry: Entry = { socket, sent: 0, received: 0, ended: false, changed: [] };
  const wake = () => {
    for (const resolve of entry.changed.splice(0)) resolve();
  };
  socket.on('data', (chunk) => {
    entry.received += chunk.length;
    wake();
  });
  socket.on('end', () => {
    entry.ended = true;
    wake();
  });
  socket.on('error', () => wake());
  socket.on('close', () => wake());
  return entries.push(entry) - 1;
}

async function until(entry: Entry, condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => entry.changed.push(resolve));
}

/** Every call that a test can make; the arguments and results cross a process boundary. */
export const calls = {
  async listen({ host, port = 0, backlog = 511, neverRead = false }: ListenOptions): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: neverRead }, (socket) => {
      if (neverRead) socket.pause();
      const number = adopt(socket);
      const resolve = waiting.shift();
      if (resolve) resolve(number);
      else accepted.push(number);
    });
    servers.push(server);
    server.listen({ host, port, backlog });
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('not a TCP server');
    return address.port;
  },

  /** The next accepted socket. */
  async accept(): Promise<number> {
    return accepted.shift() ?? new Promise<number>((resolve) => waiting.push(resolve));
  },

  async connect({ host, port, localPort, inBackground = false, neverRead = false }: ConnectOptions): Promise<number> {
    const socket = connect({ host, port, localPort, allowHalfOpen: true, autoSelectFamily: false });
    // Before there is a listener for data, which would start to read.
    if (neverRead) socket.pause();
    const number = adopt(socket);
    if (!inBackground) await once(socket, 'connect');
    return number;
  },

  /** The error code with which a connect failed. */
  async connectError(options: { host: string; port: number }): Promise<string> {
    const socket = connect({ ...options, autoSelectFamily: false });
    const [error] = await once(socket, 'error');
    return error.code;
  },

  async localPort(number: number): Promise<number> {
    return entries[number].socket.localPort ?? 0;
  },

  async send(number: number, bytes: number): Promise<void> {
    const entry = entries[number];
    entry.sent += bytes;
    await new Promise<void>((resolve, reject) => {
      entry.socket.write(Buffer.alloc(bytes, 'x'), (error) => (error ? reject(error) : resolve()));
    });
  },

  /** Sends without waiting for the kernel to take it all. */
  async sendInBackground(number: number, bytes: number): Promise<void> {
    entries[number].sent += bytes;
    entries[number].socket.write(Buffer.alloc(bytes, 'x'));
  },

  /** Waits until so many bytes were read in all. */
  async receive(number: number, bytes: number): Promise<number> {
    const entry = entries[number];
    await until(entry, () => entry.received >= bytes);
    return entry.received;
  },

  /** Reads from a socket that was connected or accepted with `neverRead`, from now on. */
  async read(number: number): Promise<void> {
    entries[number].socket.resume();
  },

  async counts(number: number): Promise<Counts> {
    const { sent, received } = entries[number];
    return { sent, received };
  },

  /** shutdown(SHUT_WR). */
  async end(number: number): Promise<void> {
    await new Promise<void>((resolve) => entries[number].socket.end(resolve));
  },

  async untilEnded(number: number): Promise<void> {
    const entry = entries[number];
    await until(entry, () => entry.ended);
  },

  async untilClosed(number: number): Promise<void> {
    const entry = entries[number];
    await until(entry, () => entry.socket.destroyed && entry.socket.closed);
  },

  /** close(); with unread data in the kernel this resets. */
  async close(number: number): Promise<void> {
    entries[number].socket.destroy();
    await calls.untilClosed(number);
  },

  /** close() with SO_LINGER 0. */
  async reset(number: number): Promise<void> {
    entries[number].socket.resetAndDestroy();
    await calls.untilClosed(number);
  },

  /** Forks a worker that accepts from the first listener instead of this process; returns its pid. */
  async forkAcceptor(): Promise<number> {
    const worker = fork(import.meta.filename, { execPath: process.execPath });
    worker.send({ takeover: true }, servers[0]);
    await once(worker, 'message');
    servers[0].close();
    process.once('disconnect', () => worker.kill());
    return worker.pid ?? 0;
  },

  /** Passes an accepted or connected socket to a new process (SCM_RIGHTS), which keeps it open; returns that process's pid. */
  async pass(number: number): Promise<number> {
    const holder = fork(import.meta.filename, { execPath: process.execPath });
    holder.send({ hold: true }, entries[number].socket);
    await once(holder, 'message');
    process.once('disconnect', () => holder.kill());
    return holder.pid ?? 0;
  },
};

export type Calls = typeof calls;

interface Request {
  id?: number;
  name?: keyof Calls;
  arguments?: never[];
  takeover?: boolean;
  hold?: boolean;
}

/** A worker answers each connection with as many bytes as it read, and ends. */
function echoOnce(socket: Socket): void {
  socket.on('data', (chunk) => socket.write(chunk));
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());
}

process.on('message', async (request: Request, handle: Server | Socket | undefined) => {
  if (request.takeover && handle) {
    handle.on('connection', echoOnce);
    process.send?.('ready');
    return;
  }
  if (request.hold && handle) {
    const number = adopt(handle as Socket);
    const socket = entries[number].socket;
    socket.on('data', (chunk) => socket.write(chunk));
    process.send?.('ready');
    return;
  }
  if (request.name === undefined) return;
  try {
    const call: (...values: never[]) => Promise<unknown> = calls[request.name];
    process.send?.({ id: request.id, result: await call(...(request.arguments ?? [])) });
  } catch (error) {
    process.send?.({ id: request.id, error: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
