// @tributary/bpf: the kernel's view of TCP sockets and of UDP flows. Programs are in ../programs, what they write in schemas/kernel-events.fbs
// (one struct for each type; its header says type and size). A collector lives by its process: links are descriptors, so a kill -9 detaches everything.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** The largest event, bytes (bpf/include/event_size.h). */
export const EVENT_BYTES_MAX = 4352;

/** One way to serve a hook, probed by loading and attaching a program of two instructions. */
export interface BackendSupport {
  hook: string;
  /** Means and target, `tp_btf/inet_sock_set_state` for example. */
  backend: string;
  supported: boolean;
  /** Text of the errno of the step that failed. */
  error?: string;
}

export interface Capabilities {
  /** What keeps this process from loading any program, as a sentence with the fix; absent when nothing does. */
  missing?: string;
  backends: BackendSupport[];
}

export interface HookStatus {
  hook: string;
  /** Absent when no backend works here; `error` then lists what each one said. */
  backend?: string;
  attached: boolean;
  error?: string;
  /** How often the kernel skipped the program because it was active on the same processor (`recursion_misses`). */
  skips: number;
  /** Time that its program ran while `measure` was on, nanoseconds. */
  runNs: number;
}

export interface CollectorOptions {
  /** Size of the ring buffer, a power of two from 64 KiB to 1 GiB; 8 MiB by default, 40 000 events. */
  ringBytes?: number;
  /** `wait` returns early once so many bytes are in the ring; 64 KiB by default. */
  wakeupBytes?: number;
  /** Inode of the only network namespace to observe (stat of /proc/PID/ns/net or /run/netns/NAME); 0, the default: all. */
  scopeNetns?: number;
  /** Id of the only v2 control group to observe, with all below it (stat of its directory), and its distance from the root; 0, the default: all. */
  scopeCgroup?: number;
  scopeCgroupLevel?: number;
  /**
   * Which programs: those that keep their state in the socket (`btf`), or those on tracepoints and kprobes with
   * the state in a hash (`kprobe`), which know less. By default the first that loads.
   */
  object?: 'btf' | 'kprobe';
  /** 16 bytes, the key of the join key's hash. All agents of a fleet need the same; there is a default. */
  joinKeyHash?: Uint8Array;
  /** Count what the kernel drops; true by default. */
  drops?: boolean;
  /** Tell the DNS messages of port 53; true by default. */
  dns?: boolean;
  /** Follow UDP; true by default. */
  datagrams?: boolean;
  /** A flow of datagrams is over after so long without one, at least 1000; 60 000 by default. A crowded table ends it sooner. */
  datagramIdleMs?: number;
  /**
   * Who reads the events knows a process for so long after one of them named it, 60 000 at most; 0, the default: it never does. What names
   * another process wakes it. A connection of a process that is known is told by the next walk of `totals`, or by its SocketClose alone,
   * where states of sockets can be walked.
   */
  processKnownMs?: number;
}

export interface CollectorStats {
  /** Events that found the ring full, exact, since `load`. */
  eventsLost: Record<
    'socketOpen' | 'socketClose' | 'connectFailed' | 'socketAdopted' | 'socketOwner' | 'dnsMessage',
    number
  >;
  /** Ends of sockets that found the ring full and waited elsewhere: `deferred` tells them, nothing is lost. */
  endsDeferred: number;
  /** Socket state changes that found no memory for the socket's state. */
  statesLost: number;
  /** State changes for which the program of `tcp_state` was skipped and that of `tcp_state_again` was not: nothing is lost. */
  changesRescued: number;
  /** Openings that no program saw when they came, told as a process used the socket. */
  openingsRescued: number;
  /** Ends that no program saw when they came, told as the kernel freed the socket: nothing is lost. */
  endsRescued: number;
  /** State changes that no program saw, as the next one of the same socket shows; the last one of a socket is not among them. */
  changesMissed: number;
  /** Segments and datagrams of port 53 that do not hold one whole DNS message. */
  dnsUnparsed: number;
  /** Drops that were counted without their socket, because there was no room for more of them. */
  dropsWithoutSocket: number;
  /** Drops that were not counted for the same reason. */
  dropsLost: number;
  /** Datagrams, and their payload bytes, that belong to no flow because there was no room for another one. */
  datagramsRefused: number;
  datagramBytesRefused: number;
  eventsDrained: number;
  /** Of the ring, with the records' headers: `drainedBytes + pendingBytes` is where the ring ends now. */
  drainedBytes: number;
  pendingBytes: number;
  ringBytes: number;
  /** Whose programs run. */
  object: 'btf' | 'kprobe';
  hooks: HookStatus[];
}

/**
 * `adopt`: SocketAdopted for connections older than the collector, in every namespace; call it once after `attach`. Later it
 *   tells connections whose SocketOpen was lost to a full ring, as SocketOpen with totals from their beginning.
 * `owners`: SocketOwner for sockets that have no owner yet and that some process holds.
 * `totals`: SocketTotals for sockets that moved since they were last told; flows of datagrams are opened and closed here, too.
 * `drops`: DropCount for each place where something was dropped since the last pass.
 * `listeners`: ListenerEvent for each listening socket, with what found no room there since the last pass.
 * `deferred`: SocketClose and ConnectFailed that found the ring full.
 * `live`: SocketTotals for every connected socket; after SocketClose events were lost, those that are missing have closed.
 */
export type WalkName = 'deferred' | 'adopt' | 'owners' | 'totals' | 'live' | 'drops' | 'listeners';

/** All methods throw an Error with a sentence after `close`, and a TypeError with a sentence for a wrong argument. */
export interface Collector {
  /** Attaches every loaded program. Never throws for one hook: see its status. */
  attach(): HookStatus[];
  /** Detaches these hooks and attaches all others again. What they had told stays told. */
  shed(hooks: readonly string[]): HookStatus[];
  /** While on, the kernel measures how long each program on this machine runs, which costs some 40 ns a run: for short samples. */
  measure(isOn: boolean): void;
  /** Blocks this thread until events wait, at most `timeoutMs` (0 to 60 000); true when there are some. For a worker. */
  wait(timeoutMs: number): boolean;
  /**
   * Calls back, from now until `close`, when `wakeupBytes` more have come or when an event names a process that is not known. What waits
   * in the ring besides is for a timer to find. Does not keep the process running.
   */
  onWake(callback: () => void): void;
  /**
   * Moves whole events from the ring to `target`, at least `EVENT_BYTES_MAX` bytes, which may be a view of WebAssembly memory,
   * shared or not. Returns the bytes written; less than `target` holds by that size or more means that the ring is empty for now.
   */
  drainInto(target: Uint8Array): number;
  /**
   * Runs a walk in pieces: fills `target` with whole events and returns their bytes; 0 ends the pass, and the next call begins
   * another. A socket in two descriptors is told once. A walk runs beside the ring: drain the ring before applying a piece, then
   * every socket in the piece is known, or its close was drained and is newer.
   */
  iterate(name: WalkName, target: Uint8Array): number;
  /**
   * Name, without its folder, of the executable that a process ran when it was last seen to become the owner of a socket; it may have
   * ended. `startTimeNs` is that of the socket's owner. Undefined when none is kept: the last 8192 such processes are.
   */
  executableOf(pid: number, startTimeNs: bigint): string | undefined;
  stats(): CollectorStats;
  /** Detaches and frees everything. Repeating it does nothing. */
  close(): void;
}

export interface LoadedProgram {
  id: number;
  /** The first 15 characters of its name. */
  name: string;
  /** Total time and number of its runs; 0 unless kernel.bpf_stats_enabled is set. */
  runNs: number;
  runCount: number;
}

/** The state of the system clock as adjtimex(2) tells it. */
export interface ClockState {
  /** Some daemon keeps it in step with others. */
  synchronized: boolean;
  /** Bound of its error, microseconds. */
  maxErrorUs: number;
}

interface NativeAddon {
  probe(): Capabilities;
  clockState(): ClockState;
  listPrograms(): LoadedProgram[];
  readKernelEnum(name: string): Record<string, number>;
  trimHeap(): void;
  dropFilePages(): void;
  Collector: new (folder: string, options?: CollectorOptions) => Collector;
}

const ADDON_PATH = join(import.meta.dirname, 'build', 'tributary_bpf.node');
const OBJECT_FOLDER = join(import.meta.dirname, '..', 'build');

function loadAddon(): NativeAddon {
  if (!existsSync(ADDON_PATH)) throw new Error(`${ADDON_PATH} is not built; run: npm run build:addon`);
  return createRequire(import.meta.url)(ADDON_PATH);
}

const addon = loadAddon();

/** What this machine and this process can do; loads nothing that stays. */
export function probe(): Capabilities {
  return addon.probe();
}

export function clockState(): ClockState {
  return addon.clockState();
}

/**
 * Loads, for each hook, the first backend that this kernel accepts. Throws an Error whose message names the fix when nothing can be
 * observed at all: a missing capability, no BTF, objects that are not built.
 */
export function load(options: CollectorOptions = {}): Collector {
  return new addon.Collector(OBJECT_FOLDER, options);
}

/** An enumeration of the running kernel, name → value; empty when its type information has none of this name. */
export function readKernelEnum(name: string): Record<string, number> {
  return addon.readKernelEnum(name);
}

/** Every eBPF program on this machine, whoever loaded it: what a process left behind would be seen here. */
export function listPrograms(): LoadedProgram[] {
  return addon.listPrograms();
}

/** Gives what was freed outside of V8 back to the kernel: payloads that were told, what loading the programs took. */
export function trimHeap(): void {
  addon.trimHeap();
}

/** Takes the pages of program files out of this process, of which a start reads far more than what follows; they stay in the page cache. */
export function dropFilePages(): void {
  addon.dropFilePages();
}
