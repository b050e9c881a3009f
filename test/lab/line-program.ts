// A program inside a lab host that does what a test says: one command a line on its standard input, one number a line as its answer.
import { once } from 'node:events';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import type { Lab } from './lab.ts';

export class LineProgram<Command extends readonly (string | number | undefined)[]> {
  readonly #name: string;
  readonly #input: NodeJS.WritableStream;
  readonly #answers: AsyncIterator<string>;

  /** `program`: path of a Python program. */
  constructor(lab: Lab, host: string, program: string, ...args: string[]) {
    this.#name = basename(program);
    const child = lab.network.host(host).spawn('python3', [program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    lab.others.push(child);
    if (child.stdin === null || child.stdout === null) throw new Error('no pipes');
    this.#input = child.stdin;
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async order(...command: Command): Promise<number> {
    if (!this.#input.write(`${command.join(' ')}\n`)) await once(this.#input, 'drain');
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`${this.#name} ended at: ${command.join(' ')}`);
    return Number(value);
  }
}
