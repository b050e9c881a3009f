// A program in a host that holds UDP sockets and does with them what a test says (datagrams.py).
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const DATAGRAM_PROGRAM = join(import.meta.dirname, 'datagrams.py');

/** Bytes and datagrams. */
export type Received = [bytes: number, datagrams: number];

export class Datagrams {
  readonly process: ChildProcess;
  /** Of the process that holds the sockets. */
  readonly pid: Promise<number>;
  readonly #answers: AsyncIterator<string>;

  /** `child`: DATAGRAM_PROGRAM under python3, with pipes. */
  constructor(child: ChildProcess) {
    this.process = child;
    if (child.stdout === null) throw new Error('no pipes');
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    this.pid = this.#answer('start').then(([pid]) => pid);
  }

  async #order(...command: (string | number)[]): Promise<number[]> {
    await this.pid;
    const input = this.process.stdin;
    if (input === null) throw new Error('no pipes');
    const line = command.join(' ');
    if (!input.write(`${line}\n`)) await once(input, 'drain');
    return this.#answer(line);
  }

  async #answer(line: string): Promise<number[]> {
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`datagrams.py ended at: ${line}`);
    return (value as string).split(' ').map(Number);
  }

  async open(address: string, port = 0, receiveBuffer?: number): Promise<number> {
    return (await this.#order('open', address, port, ...(receiveBuffer === undefined ? [] : [receiveBuffer])))[0];
  }

  /** Returns the own port. */
  async connect(socket: number, address: string, port: number): Promise<number> {
    return (await this.#order('connect', socket, address, port))[0];
  }

  async port(socket: number): Promise<number> {
    return (await this.#order('port', socket))[0];
  }

  /** The kernel may hand over several datagrams at once. */
  async merge(socket: number): Promise<void> {
    await this.#order('merge', socket);
  }

  /** Returns the bytes. Without a peer: to the one that the socket is connected to. */
  async send(socket: number, count: number, bytes: number, peer: [] | [string, number] = []): Promise<number> {
    return (await this.#order('send', socket, count, bytes, ...peer))[0];
  }

  /** One call that the kernel cuts into datagrams. */
  async split(socket: number, bytes: number, segment: number, peer: [string, number]): Promise<number> {
    return (await this.#order('split', socket, bytes, segment, ...peer))[0];
  }

  /** An empty datagram to each of `count` ports from the peer's on. */
  async spread(socket: number, count: number, peer: [string, number]): Promise<number> {
    return (await this.#order('spread', socket, count, ...peer))[0];
  }

  async receive(socket: number, bytes: number): Promise<Received> {
    return (await this.#order('receive', socket, bytes)) as Received;
  }

  async drain(socket: number): Promise<Received> {
    return (await this.#order('drain', socket)) as Received;
  }

  async close(socket: number): Promise<void> {
    await this.#order('close', socket);
  }
}
