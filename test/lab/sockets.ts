// A program inside a lab host that holds sockets and does with them what a test says (sockets.py).
import { fileURLToPath } from 'node:url';
import type { Lab } from './lab.ts';
import { LineProgram } from './line-program.ts';

const PROGRAM = fileURLToPath(new URL('./sockets.py', import.meta.url));

type Command =
  | ['listen', port: number, backlog?: number]
  | ['connect', address: string, port: number, ownPort?: number]
  | ['accept']
  | ['send' | 'receive' | 'stream', socket: number, bytes: number]
  | ['fill' | 'sent' | 'rest' | 'pass' | 'close', socket: number];

/** What `order` answers is the number of a new socket, or bytes. */
export class Sockets extends LineProgram<Command> {
  constructor(lab: Lab, host: string) {
    super(lab, host, PROGRAM);
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
