// A program inside a lab host that holds sockets and does with them what a test says (sockets.py).
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Lab } from './lab.ts';

const PROGRAM = fileURLToPath(new URL('./sockets.py', import.meta.url));

type Command =
  | ['listen', port: number, backlog?: number]
  | ['connect', address: string, port: number, ownPort?: number]
  | ['accept']
  | ['send' | 'receive' | 'stream', socket: number, bytes: number]
  | ['fill' | 'sent' | 'rest' | 'pass' | 'close', socket: number];

export class Sockets {
  readonly #input: NodeJS.WritableStream;
  readonly #answers: AsyncIterator<string>;

  constructor(lab: Lab, host: string) {
    const child = lab.network.host(host).spawn('python3', [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    lab.others.push(child);
    if (child.stdin === null || child.stdout === null) throw new Error('no pipes');
    this.#input = child.stdin;
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** The number of a new socket, or bytes. */
  async order(...command: Command): Promise<number> {
    if (!this.#input.write(`${command.join(' ')}\n`)) await once(this.#input, 'drain');
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`sockets.py ended at: ${command.join(' ')}`);
    return Number(value);
  }
}

/** A connection, by its number on either side. */
export interface Connected {
  client: number;
  server: number;
}

export async function connect(client: Sockets, server: Sockets, address: string, port: number): Promise<Connected> {
  const number = await client.order('connect', address, port);
  return { client: number, server: await server.order('accept') };
}
