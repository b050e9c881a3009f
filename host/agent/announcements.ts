// What the agent says of the things that sockets refer to: processes, address spaces, the host's own addresses. Names are text, so they live
// on this side; there is one entry per process with sockets, none per socket.
import type { Payload } from '../wire/channel-sender.ts';
import type { NetnsSpace } from '../wire/gen/agent-layout.ts';
import { FrameKind, type HostAddress } from '../wire/gen/wire-layout.ts';
import { type AddressSpace, type Announce, encodeAnnounce, type Process } from '../wire/gen/wire-tables.ts';

/** The configured space, for all addresses that mean the same everywhere in it (wasm-modules/assembly/agent/address-spaces.ts). */
export const DEFAULT_SPACE_HANDLE = 1;
/** Keeps an Announce far below the largest frame: a process is a few hundred bytes, its control group at most 4 KiB. */
const PROCESSES_PER_FRAME = 128;
const ITEMS_PER_FRAME = 8192;
/** 127.0.0.1 and ::1, in 16 bytes (RFC 4291). */
const LOOPBACKS = [Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1), Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)];

export interface AnnouncementsOptions {
  /** Name of the configured address space. */
  addressSpace: string;
  /** Names this boot of this machine: namespaces of two machines have the same numbers. */
  boot: string;
}

export class Announcements {
  readonly #boot: string;
  readonly #processes = new Map<number, Process>();
  readonly #spaces: AddressSpace[];
  readonly #netnsHandles: number[] = [];
  #addresses: Uint8Array[] = [];
  /** Not told on this channel yet. */
  #newProcesses = new Map<number, Process>();
  #newSpaces: AddressSpace[];
  #addressesChanged = true;

  constructor({ addressSpace, boot }: AnnouncementsOptions) {
    this.#boot = boot;
    this.#spaces = [{ handle: DEFAULT_SPACE_HANDLE, name: addressSpace }];
    this.#newSpaces = [...this.#spaces];
  }

  get processCount(): number {
    return this.#processes.size;
  }

  get netnsSpaceCount(): number {
    return this.#netnsHandles.length;
  }

  addProcess(process: Process): void {
    this.#processes.set(process.handle, process);
    this.#newProcesses.set(process.handle, process);
  }

  /** Loopback addresses belong to the host in each of its namespaces. */
  addSpaces(spaces: readonly NetnsSpace[]): void {
    for (const { handle, netns } of spaces) {
      const space = { handle, name: `${this.#boot}/netns:${netns}` };
      this.#spaces.push(space);
      this.#newSpaces.push(space);
      this.#netnsHandles.push(handle);
      this.#addressesChanged = true;
    }
  }

  /** All addresses of the host, 16 bytes each, loopback and link-local ones left out. */
  setHostAddresses(addresses: readonly Uint8Array[]): void {
    const isSame = addresses.length === this.#addresses.length && addresses.every((one, index) => Buffer.compare(one, this.#addresses[index]) === 0);
    if (isSame) return;
    this.#addresses = [...addresses];
    this.#addressesChanged = true;
  }

  /** What is new since the last call, then what ended: `ended` handles are free after it. */
  encodeNews(ended: readonly number[]): Payload[] {
    const endedProcesses = ended.filter((handle) => this.#processes.delete(handle) && !this.#newProcesses.delete(handle));
    return this.#encode([...this.#newProcesses.values()], this.#newSpaces, endedProcesses);
  }

  /** Everything, for a channel that knows nothing. Processes that ended are left out. */
  encodeAll(ended: readonly number[]): Payload[] {
    for (const handle of ended) this.#processes.delete(handle);
    this.#addressesChanged = true;
    return this.#encode([...this.#processes.values()], this.#spaces, []);
  }

  #encode(processes: Process[], addressSpaces: AddressSpace[], endedProcesses: number[]): Payload[] {
    const announces: Announce[] = [
      ...split(endedProcesses, ITEMS_PER_FRAME).map((part) => ({ endedProcesses: part })),
      ...split(addressSpaces, PROCESSES_PER_FRAME).map((part) => ({ addressSpaces: part })),
      ...split(processes, PROCESSES_PER_FRAME).map((part) => ({ processes: part })),
    ];
    if (this.#addressesChanged) announces.push({ hostAddresses: this.#hostAddresses() });
    this.#newProcesses.clear();
    this.#newSpaces = [];
    this.#addressesChanged = false;
    return announces.map((announce) => ({ kind: FrameKind.Announce, payload: encodeAnnounce(announce) }));
  }

  /** They replace one another, so they are one frame: what does not fit is a host of its own kind. */
  #hostAddresses(): HostAddress[] {
    const own = this.#addresses.map((address) => ({ address, addressSpace: DEFAULT_SPACE_HANDLE }));
    const loopbacks = this.#netnsHandles.flatMap((addressSpace) => LOOPBACKS.map((address) => ({ address, addressSpace })));
    return [...own, ...loopbacks].slice(0, ITEMS_PER_FRAME);
  }
}

function split<T>(items: readonly T[], countMax: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += countMax) parts.push(items.slice(at, at + countMax));
  return parts;
}
