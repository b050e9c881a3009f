/**
 * The agent without the world: events, names and windows in, payloads of frames out. No socket, timer, clock or randomness, so a simulated
 * fleet runs the same code. Sockets live in agent.wasm; this class puts announcements and marks around what it encodes.
 */
import { strict as assert } from 'node:assert';
import type { Payload } from '../wire/channel-sender.ts';
import { encodeControl } from '../wire/control.ts';
import { type AgentCounters, LabelKind, type LabelToName, type ProcessToName } from '../wire/gen/agent-layout.ts';
import { FrameKind, type Listener } from '../wire/gen/wire-layout.ts';
import type { Process } from '../wire/gen/wire-tables.ts';
import { encodeLosses, type Losses } from '../wire/losses.ts';
import { AgentModule, type AgentModuleOptions, type LabelNews } from './agent-module.ts';
import { Announcements, type AnnouncementsOptions, type EndedHandles } from './announcements.ts';
import type { ContainerName } from './container-runtime.ts';

/** What can be learned of a process beside what the kernel said of it. */
export type ProcessName = Omit<Process, 'handle' | 'pid' | 'uid' | 'startTimeNs' | 'comm'>;

export interface AgentCoreOptions extends AgentModuleOptions, AnnouncementsOptions {
  windowNs: bigint;
}

export interface AgentCoreDependencies {
  /** Undefined when the process has ended and nothing is known: it keeps the name that it had when it took its socket. */
  nameProcess: (process: ProcessToName) => ProcessName | undefined;
  /** The text of a label that is none by itself; undefined when it is not known: then its value stands for it. */
  nameLabel?: (label: LabelToName) => string | undefined;
}

/** What a window's end says beside the sockets. */
export interface WindowContext {
  /** Nanoseconds from CLOCK_MONOTONIC, the events' clock, to the reducer's Unix time. */
  clockOffsetNs: bigint;
  /** The agent's own Unix time. */
  agentTimeNs: bigint;
  /** Lost before they came here, since the session began. */
  eventsLost: bigint;
  /** What else the kernel's side left out, since the session began; absent: nothing. */
  kernelLosses?: Losses;
  blindMs: number;
}

const UNKNOWN_NAME: ProcessName = { executable: '', unit: '', containerId: '', containerRuntime: '', cgroup: '' };

export class AgentCore {
  readonly #module: AgentModule;
  readonly #announcements: Announcements;
  readonly #nameProcess: AgentCoreDependencies['nameProcess'];
  readonly #nameLabel: AgentCoreDependencies['nameLabel'];
  #windowNs: bigint;
  /** The last window that was told, and the first that the next WindowEnd covers; 0 = none yet. */
  #toldWindow = 0;
  /** The window that the last snapshot belongs to. */
  #snapshotWindow = 0;
  #fromWindow = 0;
  #committedWindow = 0;
  #incarnation = 0n;
  #windowsCoalesced = 0n;
  #processesUnnamed = 0n;
  #hasLost = false;

  constructor(options: AgentCoreOptions, { nameProcess, nameLabel }: AgentCoreDependencies) {
    this.#module = new AgentModule(options);
    this.#announcements = new Announcements(options);
    this.#nameProcess = nameProcess;
    this.#nameLabel = nameLabel;
    this.#windowNs = options.windowNs;
    this.#module.setWindowLength(options.windowNs);
  }

  get windowNs(): bigint {
    return this.#windowNs;
  }

  /** The last window that was told; 0 = none. */
  get toldWindow(): number {
    return this.#toldWindow;
  }

  /** The first window that may be told next: a snapshot belongs to no window before its own. */
  get nextWindow(): number {
    return Math.max(this.#toldWindow + 1, this.#snapshotWindow);
  }

  get counters(): AgentCounters {
    return this.#module.counters();
  }

  /** Room in linear memory for events that somebody else writes, the addon for example; `applyInbox` follows before anything else. */
  inbox(bytes: number): Uint8Array {
    return this.#module.inbox(bytes);
  }

  /** Applies the first `bytes` of the inbox, whole events of schemas/kernel-events.fbs. */
  applyInbox(bytes: number): void {
    this.#module.apply(bytes, (process) => this.#name(process));
  }

  /** Applies whole events. */
  events(bytes: Uint8Array): void {
    this.inbox(bytes.length).set(bytes);
    this.applyInbox(bytes.length);
  }

  /** Counts something of the host itself. `kind`: wire.TallyKind. */
  tallyHost(kind: number, code: number, amount: number): void {
    this.#module.tallyHost(kind, code, amount);
  }

  /**
   * Everything that the kernel had at `timeNs` (CLOCK_MONOTONIC) was applied, the totals of sockets included. Without `isDnsWhole` DNS
   * messages are missing: no query that waits is called a timeout.
   */
  settle(timeNs: bigint, isDnsWhole = true): void {
    this.#module.settle(timeNs, isDnsWhole);
  }

  /** Closes were lost: SocketTotals of every socket that is alive follow. */
  beginCensus(): void {
    this.#module.beginCensus();
  }

  /** Whoever had no event since `beginCensus` has closed. `timeNs`: now, CLOCK_MONOTONIC. */
  endCensus(timeNs: bigint): void {
    this.#module.endCensus(timeNs);
  }

  /** What is known of a container by now, for its processes that are there. */
  nameContainer(containerId: string, name: ContainerName): void {
    this.#announcements.nameContainer(containerId, name);
  }

  setHostAddresses(addresses: readonly Uint8Array[]): void {
    this.#announcements.setHostAddresses(addresses);
  }

  setListeners(listeners: readonly Listener[]): void {
    this.#announcements.setListeners(listeners);
  }

  /** A reducer with windows of another length: what follows must be a snapshot, in windows of that length. */
  setWindowLength(windowNs: bigint): void {
    if (windowNs === this.#windowNs) return;
    const rescale = (window: number) => Number((BigInt(window) * this.#windowNs) / windowNs);
    this.#toldWindow = rescale(this.#toldWindow);
    this.#snapshotWindow = rescale(this.#snapshotWindow);
    this.#fromWindow = rescale(this.#fromWindow);
    this.#committedWindow = rescale(this.#committedWindow);
    this.#windowNs = windowNs;
    this.#module.setWindowLength(windowNs);
  }

  /** The session looks from this window on. */
  begin(window: number): void {
    this.#fromWindow = window;
  }

  /** Everything up to and with `window`. Throws AssertionError for one before `nextWindow`. */
  encodeWindow(window: number, context: WindowContext): Payload[] {
    assert(window >= this.nextWindow, `window ${window} instead of ${this.nextWindow} or later`);
    const fromWindow = Math.min(window, this.#fromWindow || window);
    this.#windowsCoalesced += BigInt(window - Math.max(fromWindow, this.#toldWindow + 1));
    this.#module.beginWindow(window, context.clockOffsetNs);
    const payloads = [...this.#announcements.encodeNews(this.#takeNews()), ...this.#module.encodeAll()];
    payloads.push(...this.#encodeLosses(context.kernelLosses));
    payloads.push({ kind: FrameKind.WindowEnd, payload: this.#windowEnd(window, fromWindow, context) });
    this.#toldWindow = window;
    this.#fromWindow = window + 1;
    return payloads;
  }

  /**
   * Everything that a reducer without this channel must know. It belongs to `window`, whose end (or that of a later one) follows.
   * `incarnation`: of the reducer, which still holds what it was told up to `takenWindow` if it is the one of the last snapshot;
   * undefined: it does not know, so that increments that it may have are not told again.
   */
  encodeSnapshot(window: number, incarnation: bigint, clockOffsetNs: bigint, takenWindow?: number): Payload[] {
    assert(window > this.#toldWindow, `snapshot in window ${window} after window ${this.#toldWindow}`);
    this.#snapshotWindow = window;
    this.#module.beginSnapshot(window, clockOffsetNs, incarnation === this.#incarnation, takenWindow);
    this.#incarnation = incarnation;
    const ended = this.#takeNews();
    if (this.#committedWindow > 0) this.#fromWindow = Math.min(this.#fromWindow || window, this.#committedWindow + 1);
    const mark = { window };
    return [
      { kind: FrameKind.SnapshotBegin, payload: encodeControl('SnapshotBegin', mark) },
      ...this.#announcements.encodeAll(ended),
      ...this.#module.encodeAll(),
      { kind: FrameKind.SnapshotEnd, payload: encodeControl('SnapshotEnd', mark) },
    ];
  }

  /** Windows up to and with this one are exported. */
  commit(window: number): void {
    this.#module.commit(window);
    this.#committedWindow = Math.max(this.#committedWindow, window);
  }

  /** Brings to the announcements what the module has to announce; returns what ended. */
  #takeNews(): EndedHandles {
    this.#announcements.setSpaces(this.#module.spaceNews());
    for (const label of this.#module.labelNews()) {
      this.#announcements.addLabel({ handle: label.handle, text: this.#labelText(label) });
    }
    for (const named of this.#module.namedAddressNews()) this.#announcements.nameAddress(named);
    return { processes: this.#module.endedProcesses(), labels: this.#module.endedLabels() };
  }

  #labelText(label: LabelNews): string {
    if (label.kind === LabelKind.Text) return label.text;
    return this.#nameLabel?.(label) ?? `${label.detail} 0x${label.value.toString(16)}`;
  }

  #name(process: ProcessToName): void {
    const name = this.#nameProcess(process);
    if (name === undefined) this.#processesUnnamed++;
    this.#announcements.addProcess({
      handle: process.handle,
      pid: process.pid,
      uid: process.uid,
      startTimeNs: process.startTimeNs,
      comm: readComm(process.comm),
      ...(name ?? UNKNOWN_NAME),
    });
  }

  /** In each window once there was something, because a channel that begins anew, or another reducer, knows none of it. */
  #encodeLosses(kernelLosses: Losses = {}): Payload[] {
    const counters = this.#module.counters();
    const losses: Losses = {
      ...kernelLosses,
      Tallies: Number(counters.talliesRefused),
      FoldedTallies: Number(counters.talliesLost),
      Labels: Number(counters.labelsRefused),
      DnsMessages: Number(counters.dnsMalformed),
      DnsQueries: Number(counters.dnsQueriesRefused),
      Processes: Number(counters.processesRefused),
      AddressSpaces: Number(counters.addressSpacesRefused),
      Listeners: this.#announcements.listenersOmitted,
    };
    this.#hasLost ||= Object.values(losses).some((count) => count > 0);
    return this.#hasLost ? [{ kind: FrameKind.Loss, payload: encodeLosses(losses) }] : [];
  }

  #windowEnd(window: number, fromWindow: number, { agentTimeNs, eventsLost, blindMs }: WindowContext): Uint8Array {
    const counters = this.#module.counters();
    return encodeControl('WindowEnd', {
      window,
      fromWindow,
      agentTimeNs,
      eventsLost,
      socketsFolded: counters.socketsFolded,
      socketsRefused: counters.socketsRefused,
      windowsCoalesced: this.#windowsCoalesced,
      journalSkipped: counters.journalSkipped,
      processesUnnamed: this.#processesUnnamed,
      socketsLive: Number(counters.socketsLive),
      blindMs,
    });
  }
}

/** `comm`: 16 bytes, NUL padded; the kernel lets a process write anything there. */
function readComm(comm: Uint8Array): string {
  const end = comm.indexOf(0);
  return new TextDecoder().decode(end < 0 ? comm : comm.subarray(0, end));
}
