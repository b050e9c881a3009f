// What sessions of this worker say on connections that another worker has accepted. It is asked for each as soon as something is said there; what comes
// after that waits for the answer. No thread or socket: messages go in, messages to the acceptor come out.
import type { ConnectionId } from './messages.ts';
import type { WorkerAction } from './worker-node.ts';

/** What a session says on its connection. */
export type Utterance = Exclude<WorkerAction, { kind: 'tell' }>;

export type ToAcceptor = Utterance | { kind: 'give'; connection: ConnectionId };

export interface ElsewhereOptions {
  /** To the worker that has accepted the connection of the message. */
  relay: (message: ToAcceptor) => void;
  /** Whether that worker can give connections. */
  mayAsk: (connection: ConnectionId) => boolean;
}

export class Elsewhere {
  readonly #options: ElsewhereOptions;
  /** By connection that was asked for: what waits. */
  readonly #waiting = new Map<ConnectionId, Utterance[]>();
  /** Those that their acceptor keeps. */
  readonly #kept = new Set<ConnectionId>();

  constructor(options: ElsewhereOptions) {
    this.#options = options;
  }

  /** Connections that have not come here and are not known to be gone. */
  get size(): number {
    return this.#waiting.size + this.#kept.size;
  }

  say(utterance: Utterance): void {
    const { kind, connection } = utterance;
    const waiting = this.#waiting.get(connection);
    if (waiting !== undefined) {
      waiting.push(utterance);
      return;
    }
    const { relay, mayAsk } = this.#options;
    relay(utterance);
    if (kind === 'close' || this.#kept.has(connection) || !mayAsk(connection)) return;
    this.#waiting.set(connection, []);
    relay({ kind: 'give', connection });
  }

  /** It is here. Returns what is to be said on it. */
  given(connection: ConnectionId): Utterance[] {
    const waiting = this.#waiting.get(connection) ?? [];
    this.#waiting.delete(connection);
    return waiting;
  }

  /** It stays where it is. */
  kept(connection: ConnectionId): void {
    const waiting = this.given(connection);
    this.#kept.add(connection);
    for (const utterance of waiting) this.#options.relay(utterance);
  }

  gone(connection: ConnectionId): void {
    this.#waiting.delete(connection);
    this.#kept.delete(connection);
  }
}
