// Who may speak for an agent, decided once for all workers of a reducer (docs/protocol.md, sections 1 and 6). One live session for each
// agent identity; a session has one connection, its newest. Knows identities and connections, no frames and no sockets.
import { GoodbyeReason } from './gen/wire-layout.ts';
import type { Hello } from './gen/wire-tables.ts';

/** How long a quarantined session is refused. */
const QUARANTINE_MS = 60_000;

export type Admission =
  | { kind: 'refuse'; reason: GoodbyeReason }
  /** The session is known and its place holds its state. `replaces`: a connection to close first. */
  | { kind: 'resume'; replaces: number | undefined }
  /** A new twin, which takes over from the session `succeeds`; that one's connection is `replaces`. */
  | { kind: 'open'; replaces: number | undefined; succeeds: bigint | undefined };

export interface SessionRegistryOptions {
  incarnation: bigint;
  sessionCountMax: number;
  /** A connected session that said nothing for this long may be replaced by another of its identity: more than a window. */
  silenceMs: number;
}

interface Entry {
  identity: string;
  session: bigint;
  place: number;
  connection: number | undefined;
  heardMs: number;
  quarantinedUntilMs: number;
}

export class SessionRegistry {
  readonly #options: SessionRegistryOptions;
  readonly #bySession = new Map<bigint, Entry>();
  readonly #byIdentity = new Map<string, Entry>();

  constructor(options: SessionRegistryOptions) {
    this.#options = options;
  }

  get sessionCount(): number {
    return this.#bySession.size;
  }

  /**
   * A Hello has come on `connection`, at the worker `place`. Unless it is refused, the session is connected from now on. A session that
   * comes to another place starts anew there, because its twin cannot move.
   */
  arrive(hello: Hello, { connection, place }: { connection: number; place: number }, nowMs: number): Admission {
    const identity = `${hello.nodeId}/${hello.bootId}/${hello.scope}`;
    const before = this.#bySession.get(hello.session) ?? this.#byIdentity.get(identity);
    const refusal = this.#refusal(hello.session, identity, before, nowMs);
    if (refusal !== undefined) return { kind: 'refuse', reason: refusal };
    const replaces = before?.connection;
    const isKnown = before !== undefined && before.session === hello.session && before.place === place;
    const resume = isKnown && hello.incarnation === this.#options.incarnation && before.quarantinedUntilMs === 0;
    if (before !== undefined) this.#forget(before);
    const entry = { identity, session: hello.session, place, connection, heardMs: nowMs, quarantinedUntilMs: 0 };
    this.#bySession.set(entry.session, entry);
    this.#byIdentity.set(identity, entry);
    return resume ? { kind: 'resume', replaces } : { kind: 'open', replaces, succeeds: before?.session };
  }

  heard(session: bigint, nowMs: number): void {
    const entry = this.#bySession.get(session);
    if (entry !== undefined) entry.heardMs = Math.max(entry.heardMs, nowMs);
  }

  /** A connection has ended. Its session stays known, unless another connection carries it by now. */
  left(session: bigint, connection: number, nowMs: number): void {
    const entry = this.#bySession.get(session);
    if (entry?.connection !== connection) return;
    entry.connection = undefined;
    entry.heardMs = nowMs;
  }

  /** Refuses the session for a minute; after that it may start anew. */
  quarantine(session: bigint, nowMs: number): void {
    const entry = this.#bySession.get(session);
    if (entry !== undefined) entry.quarantinedUntilMs = nowMs + QUARANTINE_MS;
  }

  /** The session said goodbye, or was given up. */
  remove(session: bigint): void {
    const entry = this.#bySession.get(session);
    if (entry !== undefined) this.#forget(entry);
  }

  /** Sessions without a connection for at least `afterMs`. */
  abandoned(nowMs: number, afterMs: number): bigint[] {
    const entries = [...this.#bySession.values()];
    return entries
      .filter((entry) => entry.connection === undefined && nowMs - entry.heardMs >= afterMs)
      .map((entry) => entry.session);
  }

  #refusal(session: bigint, identity: string, before: Entry | undefined, nowMs: number): GoodbyeReason | undefined {
    if (before === undefined)
      return this.sessionCount >= this.#options.sessionCountMax ? GoodbyeReason.AgentLimit : undefined;
    if (before.quarantinedUntilMs > nowMs && before.session === session) return GoodbyeReason.Quarantined;
    const isSame = before.session === session && before.identity === identity;
    const isAbsent = before.connection === undefined || nowMs - before.heardMs >= this.#options.silenceMs;
    const other = this.#byIdentity.get(identity);
    if (isSame || (isAbsent && (other === undefined || other === before))) return undefined;
    return GoodbyeReason.DuplicateAgent;
  }

  #forget(entry: Entry): void {
    this.#bySession.delete(entry.session);
    this.#byIdentity.delete(entry.identity);
  }
}
