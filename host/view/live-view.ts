/**
 * The live view on a terminal: asks its source when a window has closed or a key wants it, and draws what is to be seen. It leaves the
 * terminal as it was however the process ends, short of SIGKILL.
 */
import type { ReadStream, WriteStream } from 'node:tty';
import type { Instance } from 'ink';
import type { SortKey } from '../api/edge-order.ts';
import type { LevelName } from '../export/levels.ts';
import type { EdgeSource } from './edge-source.ts';
import type { Line } from './line.ts';
import { filterEdges, layScreen, type ScreenData, type ScreenSize } from './screen-lines.ts';
import { afterKey, firstState, type ViewKey, type ViewState } from './view-state.ts';

export interface LiveViewOptions {
  title: string;
  by: SortKey;
  level: LevelName;
  /** So many windows are added up. */
  windows: number;
}

export interface LiveViewDependencies {
  source: EdgeSource;
  input: ReadStream;
  output: WriteStream;
  environment: NodeJS.ProcessEnv;
  /** The terminal is as it was: what was held back may be written. */
  onLeft?: () => void;
}

/** An opened edge shows at most so many windows. */
const HISTORY_WINDOWS = 120;

export class LiveView {
  readonly #options: LiveViewOptions;
  readonly #dependencies: LiveViewDependencies;
  readonly #ended = Promise.withResolvers<void>();
  #state: ViewState;
  #data: ScreenData;
  #draw: (() => void) | undefined;
  #ink: Instance | undefined;
  #asking: Promise<void> | undefined;
  #isAskedAgain = false;
  /** Last window of the newest answer. */
  #lastWindow: number | undefined;
  readonly #leave = (): void => {
    this.#ink?.unmount();
    this.#dependencies.onLeft?.();
  };

  constructor(options: LiveViewOptions, dependencies: LiveViewDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#state = firstState(options.by, options.level);
    this.#data = { title: options.title, answer: undefined, history: undefined, health: '' };
  }

  /** Resolves when a key has ended the view. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Takes the terminal. */
  async start(): Promise<void> {
    const { input, output, environment } = this.#dependencies;
    // React's build for development keeps a record of each render for as long as the process lives.
    environment.NODE_ENV ??= 'production';
    const [{ render }, { createElement }, { Screen }] = await Promise.all([
      import('ink'),
      import('react'),
      import('./screen.ts'),
    ]);
    const hasColors = output.hasColors(environment);
    const onKey = (key: ViewKey): void => this.#press(key);
    const screen = () => createElement(Screen, { lines: this.#lines(), hasColors, hasKeys: input.isTTY, onKey });
    this.#ink = render(screen(), {
      ...{ stdin: input, stdout: output, patchConsole: false, exitOnCtrlC: false },
      ...{ alternateScreen: true, incrementalRendering: true, interactive: true },
    });
    this.#draw = () => this.#ink?.rerender(screen());
    output.on('resize', this.#draw);
    process.once('exit', this.#leave);
    process.once('uncaughtExceptionMonitor', this.#leave);
    await this.refresh();
  }

  /** Gives the terminal back. */
  stop(): void {
    if (this.#draw === undefined) return;
    this.#dependencies.output.off('resize', this.#draw);
    this.#draw = undefined;
    process.off('exit', this.#leave);
    process.off('uncaughtExceptionMonitor', this.#leave);
    this.#leave();
  }

  /** A window has closed. While one question is on its way, further ones become one. */
  async refresh(): Promise<void> {
    if (this.#state.isPaused && this.#data.answer !== undefined) return;
    await this.#ask();
  }

  /** Something that was logged: it stays on the screen, in one line. */
  notice(text: string): void {
    this.#data = { ...this.#data, notice: text };
    this.#draw?.();
  }

  #press(key: ViewKey): void {
    const before = this.#state;
    this.#state = afterKey(before, key, filterEdges(before, this.#data, this.#size()));
    if (this.#state.isEnded) this.#ended.resolve();
    const { level, isOpen, selected, isPaused } = this.#state;
    if (level !== before.level) this.#data = { ...this.#data, answer: undefined };
    if (isOpen && selected !== this.#data.history?.edge.key) this.#data = { ...this.#data, history: undefined };
    const isOther = level !== before.level || (isOpen && (!before.isOpen || selected !== before.selected));
    if (isOther || (before.isPaused && !isPaused)) void this.#ask();
    this.#draw?.();
  }

  async #ask(): Promise<void> {
    if (this.#asking !== undefined) {
      this.#isAskedAgain = true;
      return this.#asking;
    }
    this.#asking = this.#askUntilAnswered();
    await this.#asking;
    this.#asking = undefined;
  }

  async #askUntilAnswered(): Promise<void> {
    do {
      this.#isAskedAgain = false;
      try {
        this.#data = await this.#read();
      } catch (error) {
        this.#data = { ...this.#data, trouble: error instanceof Error ? error.message : String(error) };
      }
      this.#draw?.();
    } while (this.#isAskedAgain);
  }

  /** While it is paused, what is asked for anew is of the same windows. */
  async #read(): Promise<ScreenData> {
    const { source } = this.#dependencies;
    const { title, windows } = this.#options;
    const { level, isPaused, isOpen, selected } = this.#state;
    const until = isPaused ? this.#lastWindow : undefined;
    const answer = await source.edges({ level, windows, until });
    this.#lastWindow = answer.lastWindow ?? undefined;
    const history =
      isOpen && selected !== undefined
        ? await source.history({ level, windows: HISTORY_WINDOWS, until: this.#lastWindow, key: selected })
        : undefined;
    return { title, answer, history, health: await source.health(), notice: this.#data.notice };
  }

  #lines(): Line[] {
    const size = this.#size();
    return layScreen(this.#state, this.#data, filterEdges(this.#state, this.#data, size), size);
  }

  #size(): ScreenSize {
    const { columns, rows } = this.#dependencies.output;
    return { columns, rows };
  }
}
