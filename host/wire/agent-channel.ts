/**
 * The agent's end of its channel to a reducer (docs/protocol.md, sections 2 and 6). No socket, timer or clock: what happened goes in, what
 * to do comes out. The shell reports events of the newest connection only.
 *
 *   waiting ──tick──▶ connecting ──connected──▶ greeting ──Welcome──▶ open ─┐
 *      ▲◀── connect timed out, closed, silent for 5 s, goodbye, nonsense ────┘
 */
import { Backoff } from '../lib/backoff.ts';
import type { Instant } from '../lib/clock.ts';
import { ChannelSender, type Payload } from './channel-sender.ts';
import { ClockOffset } from './clock-offset.ts';
import { decodeControl, encodeControl, PROTOCOL_VERSION } from './control.ts';
import { encodeFrame, FRAME_BYTES_MAX } from './frame.ts';
import { type Frame, FrameDecoder } from './frame-decoder.ts';
import { type Committed, FrameKind, GoodbyeReason, type Received, type Welcome } from './gen/wire-layout.ts';
import { encodeHello, type Hello } from './gen/wire-tables.ts';
import { SealedWindows } from './sealed-windows.ts';

const CONNECT_TIMEOUT_MS = 2_000;
/** A reducer to which a whole fleet returns makes one handshake after the other. */
const SECURE_TIMEOUT_MS = 10_000;
/** The reducer gives a sign of life each second, but none while it holds its Welcome back. */
export const SILENCE_MS_MAX = 5_000;
const RECONNECT_FIRST_MS = 100;
export const RECONNECT_MAX_MS = 2_000;
/** Whoever is refused for its certificate is so until somebody changes a file. */
const REFUSED_FIRST_MS = 1_000;
const REFUSED_MAX_MS = 30_000;
/** How long a Goodbye may wait for its receipt. */
const STOP_TIMEOUT_MS = 2_000;

export type AgentAction =
  | { kind: 'connect' }
  | { kind: 'send'; bytes: Uint8Array }
  | { kind: 'close' }
  /** The channel is open. Without `resume` its first frames must be a snapshot. */
  | { kind: 'welcome'; resume: boolean; welcome: Welcome }
  /** Windows of this session up to and with this one may be forgotten. Rises. */
  | { kind: 'commit'; window: number }
  /** Nanoseconds to add to the agent's time to get the reducer's. */
  | { kind: 'clock'; offsetNs: bigint; roundTripNs: bigint }
  | { kind: 'lost'; reason: AgentLoss; detail: string }
  | { kind: 'stopped' };

/** Why a connection ended. */
export type AgentLoss =
  | 'closed'
  | 'connect_timeout'
  | 'handshake'
  | 'silent'
  | 'goodbye'
  | 'refused'
  | 'unusable_welcome'
  | 'impossible_receipt';

/** What Hello says that does not change. */
export type AgentIdentity = Omit<
  Hello,
  'protocolVersion' | 'incarnation' | 'agentTimeNs' | 'firstWindow' | 'committedWindow' | 'committedClosedWindow'
>;

const CERTIFICATE_REASONS: ReadonlySet<number> = new Set([
  GoodbyeReason.TlsRequired,
  GoodbyeReason.NoCertificate,
  GoodbyeReason.UnknownAuthority,
  GoodbyeReason.CertificateExpired,
  GoodbyeReason.CertificateRefused,
  GoodbyeReason.NodeName,
]);

export interface AgentChannelOptions {
  identity: AgentIdentity;
  /** The first window that has not been offered yet. */
  firstWindow: (now: Instant) => number;
  /** Uniform in [0, 1), for the reconnect delays. */
  random: () => number;
  zstd?: boolean;
  /** The largest frame that will be offered, bytes; a reducer that grants less credit is of no use. */
  frameBytesMax?: number;
}

export class AgentChannel {
  readonly #options: Required<AgentChannelOptions>;
  readonly #sender: ChannelSender;
  readonly #backoff: Backoff;
  readonly #refusedBackoff: Backoff;
  readonly #clock = new ClockOffset();
  readonly #sealed = new SealedWindows();
  #decoder = new FrameDecoder();
  #state: 'waiting' | 'connecting' | 'greeting' | 'open' | 'stopped' = 'waiting';
  #actions: AgentAction[] = [];
  /** Of the current state: when to connect, or since when the peer has been silent. */
  #sinceMs = -Infinity;
  #connectAtMs = -Infinity;
  #connectTimeoutMs = CONNECT_TIMEOUT_MS;
  /** The incarnation that knows this channel; 0 = none. */
  #incarnation = 0n;
  #grantBytes = 0;
  /** Length of the windows in which this session counts: the reducer's, once there was one. */
  #windowNs: bigint;
  #committed: Committed = { window: 0, closedWindow: 0 };
  #echoedNs = 0n;
  #stop: { seq: number; deadlineMs: number } | undefined;
  /** Frames towards the agent of a kind that it does not know. */
  framesSkipped = 0;

  constructor(options: AgentChannelOptions) {
    this.#options = { zstd: false, frameBytesMax: FRAME_BYTES_MAX, ...options };
    this.#windowNs = options.identity.windowNs;
    this.#sender = new ChannelSender({ zstd: this.#options.zstd });
    const { random } = options;
    this.#backoff = new Backoff({ firstMs: RECONNECT_FIRST_MS, maxMs: RECONNECT_MAX_MS, random });
    this.#refusedBackoff = new Backoff({ firstMs: REFUSED_FIRST_MS, maxMs: REFUSED_MAX_MS, random });
  }

  /**
   * True when a window may be encoded: everything before it has been sent and half of the credit is free, so what is kept never exceeds the
   * credit by more than one window. While it is false the caller lets its windows coalesce.
   */
  get canOffer(): boolean {
    return (
      this.#state === 'open' &&
      this.#stop === undefined &&
      this.#sender.isDrained &&
      this.#sender.creditBytes * 2 >= this.#grantBytes
    );
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Bytes kept until they are received, and how many more may be sent. */
  get keptBytes(): number {
    return this.#sender.keptBytes;
  }

  get creditBytes(): number {
    return this.#sender.creditBytes;
  }

  /** This session's last committed window, and the last closed window that this incarnation is known to have committed; 0 = none. */
  get committed(): Readonly<Committed> {
    return this.#committed;
  }

  /** A whole window or a whole snapshot. It is sent as far as the credit reaches; the rest follows as credit returns. */
  offer(payloads: readonly Payload[]): AgentAction[] {
    this.#send(this.#sender.offer(payloads));
    return this.#take();
  }

  connected(now: Instant): AgentAction[] {
    if (this.#state !== 'connecting') return [];
    this.#enter('greeting', now);
    this.#decoder = new FrameDecoder();
    const payload = encodeHello({
      ...this.#options.identity,
      windowNs: this.#windowNs,
      protocolVersion: PROTOCOL_VERSION,
      incarnation: this.#incarnation,
      agentTimeNs: now.unixNs,
      firstWindow: this.#options.firstWindow(now),
      committedWindow: this.#committed.window,
      committedClosedWindow: this.#committed.closedWindow,
    });
    this.#send([encodeFrame({ kind: FrameKind.Hello, seq: 0, payload })]);
    return this.#take();
  }

  bytes(piece: Uint8Array, now: Instant): AgentAction[] {
    if (this.#state !== 'greeting' && this.#state !== 'open') return [];
    this.#sinceMs = now.ms;
    this.#decoder.push(piece);
    for (let frame = this.#decoder.next(); frame !== undefined && this.#isConnected(); frame = this.#decoder.next()) {
      this.#frame(frame, now);
    }
    if (this.#decoder.broken !== undefined && this.#isConnected()) this.#lose('refused', this.#decoder.broken, now);
    return this.#take();
  }

  /** The connection stands; before it is `connected` its ends prove who they are. */
  securing(now: Instant): void {
    if (this.#state !== 'connecting') return;
    this.#sinceMs = now.ms;
    this.#connectTimeoutMs = SECURE_TIMEOUT_MS;
  }

  /** `detail`: why, in words. With `handshake` the ends did not agree on who they are. */
  disconnected(now: Instant, reason: 'closed' | 'handshake' = 'closed', detail = ''): AgentAction[] {
    if (this.#state === 'connecting' || this.#isConnected()) this.#lose(reason, detail, now);
    return this.#take();
  }

  /** What made connections fail has been changed: the next attempt is due. */
  retry(): void {
    this.#refusedBackoff.reset();
    this.#connectAtMs = -Infinity;
  }

  /** To be called a few times a second. */
  tick(now: Instant): AgentAction[] {
    if (this.#stop !== undefined && now.ms >= this.#stop.deadlineMs) this.#finish();
    if (this.#state === 'waiting' && now.ms >= this.#connectAtMs) {
      this.#enter('connecting', now);
      this.#connectTimeoutMs = CONNECT_TIMEOUT_MS;
      this.#actions.push({ kind: 'connect' });
    }
    const silentMs = now.ms - this.#sinceMs;
    if (this.#state === 'connecting' && silentMs >= this.#connectTimeoutMs) this.#lose('connect_timeout', '', now);
    if (this.#isConnected() && silentMs >= SILENCE_MS_MAX) this.#lose('silent', `${Math.round(silentMs)} ms`, now);
    return this.#take();
  }

  /** Says goodbye and is `stopped` when the reducer has everything, at the latest after two seconds; at once without a reducer. */
  stop(now: Instant): AgentAction[] {
    if (this.#state === 'open' && this.#stop === undefined) {
      this.#stop = { seq: this.#sender.nextSeq, deadlineMs: now.ms + STOP_TIMEOUT_MS };
      const payload = encodeControl('Goodbye', { reason: GoodbyeReason.Stopping });
      this.#send(this.#sender.offer([{ kind: FrameKind.Goodbye, payload }]));
    } else if (this.#stop === undefined) {
      this.#finish();
    }
    return this.#take();
  }

  #frame(frame: Frame, now: Instant): void {
    if (frame.refusal !== undefined) return this.#lose('refused', frame.refusal, now);
    switch (frame.kind) {
      case FrameKind.Welcome:
        return this.#control(decodeControl('Welcome', frame.payload), now, (welcome) => this.#welcome(welcome, now));
      case FrameKind.Received:
        return this.#control(decodeControl('Received', frame.payload), now, (received) =>
          this.#received(received, now),
        );
      case FrameKind.Sealed:
        return this.#control(decodeControl('Sealed', frame.payload), now, (pair) => this.#sealed.seal(pair));
      case FrameKind.Committed:
        return this.#control(decodeControl('Committed', frame.payload), now, (pair) => this.#commit(pair));
      case FrameKind.Goodbye:
        return this.#control(decodeControl('Goodbye', frame.payload), now, ({ reason }) => this.#goodbye(reason, now));
      default:
        this.framesSkipped++;
    }
  }

  #control<T>(value: T | undefined, now: Instant, use: (value: T) => void): void {
    if (value === undefined) this.#lose('refused', 'malformed', now);
    else use(value);
  }

  #welcome(welcome: Welcome, now: Instant): void {
    if (this.#state !== 'greeting' || welcome.creditBytes < this.#options.frameBytesMax || welcome.windowNs === 0n) {
      return this.#lose('unusable_welcome', `credit ${welcome.creditBytes} bytes, window ${welcome.windowNs} ns`, now);
    }
    const isStranger = welcome.incarnation !== this.#incarnation;
    const resume = welcome.resume !== 0 && !isStranger;
    this.#grantBytes = Number(welcome.creditBytes);
    if (!resume) this.#sender.restart(this.#grantBytes);
    else if (!this.#sender.resume(welcome.lastReceivedSeq, this.#grantBytes)) {
      this.#incarnation = 0n;
      return this.#lose('unusable_welcome', `resume after frame ${welcome.lastReceivedSeq}`, now);
    }
    this.#incarnation = welcome.incarnation;
    this.#windowNs = welcome.windowNs;
    this.#enter('open', now);
    this.#backoff.reset();
    this.#refusedBackoff.reset();
    if (isStranger) this.#clock.reset();
    this.#measure(welcome.agentTimeNs, welcome.reducerTimeNs, now);
    this.#commitTold(welcome, isStranger);
    this.#actions.push({ kind: 'welcome', resume, welcome });
    this.#send(this.#sender.pump());
  }

  /**
   * What was sealed up to a closed window that is known to be committed, both by the incarnation of Hello. What that one sealed beyond it died
   * with it, and its numbers of closed windows mean nothing to the next.
   */
  #commitTold({ committedClosedWindow, committedWindow }: Welcome, isStranger: boolean): void {
    const known = this.#sealed.commit(committedClosedWindow);
    if (known !== undefined) this.#commit(known);
    if (committedWindow > 0) this.#commit({ window: committedWindow, closedWindow: committedClosedWindow });
    if (!isStranger) return;
    this.#sealed.clear();
    this.#committed = { window: this.#committed.window, closedWindow: 0 };
  }

  #commit(pair: Committed): void {
    this.#sealed.commit(pair.closedWindow);
    const closedWindow = Math.max(pair.closedWindow, this.#committed.closedWindow);
    if (pair.window > this.#committed.window) {
      this.#committed = { window: pair.window, closedWindow };
      this.#actions.push({ kind: 'commit', window: pair.window });
    } else {
      this.#committed = { ...this.#committed, closedWindow };
    }
  }

  #received({ seq, reducerTimeNs, agentTimeNs }: Received, now: Instant): void {
    if (this.#state !== 'open' || !this.#sender.received(seq)) {
      this.#incarnation = 0n;
      return this.#lose('impossible_receipt', `frame ${seq}`, now);
    }
    if (agentTimeNs !== 0n && agentTimeNs !== this.#echoedNs) this.#measure(agentTimeNs, reducerTimeNs, now);
    if (this.#stop !== undefined && seq >= this.#stop.seq) this.#finish();
    else this.#send(this.#sender.pump());
  }

  #goodbye(reason: number, now: Instant): void {
    // A reducer that refused this channel's frames would refuse them again.
    if (reason === GoodbyeReason.Quarantined) this.#incarnation = 0n;
    const name = Object.entries(GoodbyeReason).find(([, value]) => value === reason)?.[0];
    this.#lose('goodbye', name ?? `reason ${reason}`, now, CERTIFICATE_REASONS.has(reason));
  }

  #measure(agentTimeNs: bigint, reducerTimeNs: bigint, now: Instant): void {
    this.#echoedNs = agentTimeNs;
    this.#clock.add(agentTimeNs, reducerTimeNs, now.unixNs);
    const { offsetNs, roundTripNs } = this.#clock;
    if (offsetNs !== undefined && roundTripNs !== undefined)
      this.#actions.push({ kind: 'clock', offsetNs, roundTripNs });
  }

  #lose(reason: AgentLoss, detail: string, now: Instant, isRefused = reason === 'handshake'): void {
    this.#actions.push({ kind: 'lost', reason, detail });
    if (this.#stop !== undefined) return this.#finish();
    if (reason !== 'closed' && reason !== 'handshake') this.#actions.push({ kind: 'close' });
    this.#connectAtMs = now.ms + (isRefused ? this.#refusedBackoff : this.#backoff).nextMs();
    this.#enter('waiting', now);
  }

  #finish(): void {
    if (this.#state !== 'waiting' && this.#state !== 'stopped') this.#actions.push({ kind: 'close' });
    this.#state = 'stopped';
    this.#stop = undefined;
    this.#actions.push({ kind: 'stopped' });
  }

  #isConnected(): boolean {
    return this.#state === 'greeting' || this.#state === 'open';
  }

  #enter(state: 'waiting' | 'connecting' | 'greeting' | 'open', now: Instant): void {
    this.#state = state;
    this.#sinceMs = now.ms;
  }

  #send(frames: Uint8Array[]): void {
    for (const bytes of frames) this.#actions.push({ kind: 'send', bytes });
  }

  #take(): AgentAction[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }
}
