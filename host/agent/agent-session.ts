/**
 * What an agent tells its reducer, and when: between the core, which knows the sockets, and the channel, which knows the reducer. No
 * socket, timer or clock: a thread with an AgentLink and the simulator drive it alike.
 *
 *   welcome without resume ─▶ snapshot      the end of a window, in the reducer's time ─▶ window      Committed ─▶ core
 */
import type { Instant } from '../lib/clock.ts';
import type { AgentAction } from '../wire/agent-channel.ts';
import type { Payload } from '../wire/channel-sender.ts';
import type { Welcome } from '../wire/gen/wire-layout.ts';
import type { Losses } from '../wire/losses.ts';
import type { AgentCore, WindowContext } from './agent-core.ts';

export interface AgentSessionOptions {
  /** Nanoseconds from the events' clock (CLOCK_MONOTONIC) to Instant.unixNs. */
  monotonicToUnixNs: bigint;
  /** For how long nobody looked before this session. */
  blindMs: number;
}

export interface AgentSessionDependencies {
  core: AgentCore;
  /** Brings everything that the kernel knows by now into the core; called right before anything is told. */
  collect: () => void;
  /** Events that never reached the core, since the session began. */
  eventsLost: () => bigint;
  /** What else the kernel's side left out; absent: nothing. */
  kernelLosses?: () => Losses;
}

export class AgentSession {
  readonly #options: AgentSessionOptions;
  readonly #dependencies: AgentSessionDependencies;
  /** Nanoseconds to add to this host's Unix time to get the reducer's. */
  #offsetNs = 0n;
  #lookSinceNs: bigint | undefined;

  constructor(options: AgentSessionOptions, dependencies: AgentSessionDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  /** Somebody looks from now on: what moves before the first reducer is found belongs to the windows in which it moved. */
  begin(now: Instant): void {
    this.#lookSinceNs = now.unixNs;
  }

  /** Until the open window ends, in the reducer's time. */
  msToWindowEnd(now: Instant): number {
    const { windowNs } = this.#dependencies.core;
    return Number(windowNs - ((now.unixNs + this.#offsetNs) % windowNs)) / 1e6;
  }

  /** The first window that was not told: what this channel tells begins there, and a new reducer waits for it from its first window on. */
  firstWindow(now: Instant): number {
    const { toldWindow } = this.#dependencies.core;
    return toldWindow === 0 ? this.#lookWindow(now) : toldWindow + 1;
  }

  /** Returns what to offer the channel at once. */
  handle(news: AgentAction, now: Instant): Payload[] {
    if (news.kind === 'commit') this.#dependencies.core.commit(news.window);
    else if (news.kind === 'clock') this.#offsetNs = news.offsetNs;
    else if (news.kind === 'welcome') return this.#welcome(news.resume, news.welcome, now);
    return [];
  }

  /** Everything up to the last window that has ended, if that was not told. To be called while the channel's `canOffer` is true. */
  tell(now: Instant): Payload[] {
    const window = this.#windowOf(now) - 1;
    return window >= this.#dependencies.core.nextWindow ? this.#tell(window, now) : [];
  }

  /** Before Goodbye: everything up to now, as the current window. What a reading leaves to the next has it. */
  tellLast(now: Instant): Payload[] {
    this.#dependencies.collect();
    return this.#tell(Math.max(this.#windowOf(now), this.#dependencies.core.nextWindow), now);
  }

  /**
   * Everything that whoever is called `incarnation` has to know before the next window. `takenWindow`: as Welcome says, when it knows this session.
   */
  snapshot(incarnation: bigint, now: Instant, takenWindow?: number): Payload[] {
    const { core, collect } = this.#dependencies;
    // The window that ended last is told next, unless it was told already.
    const window = Math.max(this.firstWindow(now), this.#windowOf(now) - 1);
    if (core.toldWindow === 0) core.begin(this.#lookWindow(now));
    collect();
    return core.encodeSnapshot(window, incarnation, this.#clockOffsetNs(), takenWindow);
  }

  #welcome(resume: boolean, { incarnation, windowNs, known, takenWindow }: Welcome, now: Instant): Payload[] {
    if (resume) return [];
    this.#dependencies.core.setWindowLength(windowNs);
    return this.snapshot(incarnation, now, known === 0 ? undefined : takenWindow);
  }

  #tell(window: number, now: Instant): Payload[] {
    const { core, collect, eventsLost, kernelLosses } = this.#dependencies;
    collect();
    const context: WindowContext = {
      clockOffsetNs: this.#clockOffsetNs(),
      agentTimeNs: now.unixNs,
      eventsLost: eventsLost(),
      kernelLosses: kernelLosses?.(),
      blindMs: this.#options.blindMs,
    };
    return core.encodeWindow(window, context);
  }

  #clockOffsetNs(): bigint {
    return this.#options.monotonicToUnixNs + this.#offsetNs;
  }

  #lookWindow(now: Instant): number {
    return this.#windowOf({ ...now, unixNs: this.#lookSinceNs ?? now.unixNs });
  }

  #windowOf(now: Instant): number {
    return Number((now.unixNs + this.#offsetNs) / this.#dependencies.core.windowNs);
  }
}
