// A terminal that a program runs in, as a person would see it: a tmux server of its own without configuration. Keys go in, the screen comes out.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { waitFor } from './wait.ts';

const run = promisify(execFile);
let nextTerminal = 0;

export interface TerminalSize {
  columns: number;
  rows: number;
}

export class Terminal {
  readonly #server = `tributary-${process.pid}-${nextTerminal++}`;

  /** A shell in a new terminal, where CI is not set: with it the libraries that draw leave all colours and looks out. */
  async start({ columns, rows }: TerminalSize, environment: Record<string, string> = {}): Promise<void> {
    const variables = Object.entries(environment).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
    const size = ['-x', String(columns), '-y', String(rows)];
    await this.#tmux('-f', '/dev/null', 'new-session', '-d', ...size, ...variables, 'env -u CI PS1="# " sh');
    await this.#tmux('set-option', '-g', 'window-size', 'manual');
    await this.untilMatch(/^#/m);
  }

  /** Types a command into the shell, which says with what it ended. */
  async run(command: string): Promise<void> {
    await this.type(`${command}; echo "ended with $?"\n`);
  }

  /** Names of keys as tmux has them: Enter, Escape, Up, C-c. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys);
  }

  async type(text: string): Promise<void> {
    await this.#tmux('send-keys', '-l', text);
  }

  async resize({ columns, rows }: TerminalSize): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  /** The lines on the screen, without spaces at their ends. */
  async screen(): Promise<string[]> {
    return (await this.#tmux('capture-pane', '-p')).replace(/\n$/, '').split('\n');
  }

  /** The same with escape sequences for colours and other looks. */
  async styledScreen(): Promise<string> {
    return this.#tmux('capture-pane', '-p', '-e');
  }

  /** Waits until `see` returns a value for the screen. */
  async until<T>(what: string, see: (lines: string[]) => T | undefined, timeoutMs = 60_000): Promise<T> {
    let last: string[] = [];
    return waitFor(
      async () => {
        last = await this.screen();
        return see(last);
      },
      what,
      { timeoutMs, detail: () => last.join('\n') },
    );
  }

  async untilMatch(pattern: RegExp, timeoutMs?: number): Promise<string[]> {
    return this.until(
      `${pattern} on the screen`,
      (lines) => (pattern.test(lines.join('\n')) ? lines : undefined),
      timeoutMs,
    );
  }

  /** Whether a program has the alternate screen, whether the cursor is to be seen, and the settings of the line. */
  async state(): Promise<{ alternate: boolean; cursor: boolean; settings: string }> {
    const format = '#{alternate_on} #{cursor_flag} #{pane_tty}';
    const [alternate, cursor, device] = (await this.#tmux('display-message', '-p', format)).trim().split(' ');
    const { stdout } = await run('stty', ['-a', '-F', device]);
    return { alternate: alternate === '1', cursor: cursor === '1', settings: stdout };
  }

  async stop(): Promise<void> {
    await this.#tmux('kill-server').catch(() => undefined);
  }

  async #tmux(...args: string[]): Promise<string> {
    const { stdout } = await run('tmux', ['-u', '-L', this.#server, ...args]);
    return stdout;
  }
}
