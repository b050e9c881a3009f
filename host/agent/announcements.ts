// What the agent says of the things that sockets and tallies refer to: processes, address spaces, the host's own addresses, labels of tallies. Names are text, so they live
// on this side; there is one entry per process with sockets, none per socket.
import type { Payload } from '../wire/channel-sender.ts';
import type { NetnsSpace } from '../wire/gen/agent-layout.ts';
import { FrameKind, type HostAddress, type Listener, type NamedAddress } from '../wire/gen/wire-layout.ts';
import { type AddressSpace, type Announce, encodeAnnounce, type Label, type Process } from '../wire/gen/wire-tables.ts';
import { encodeListeners, LISTENER_COUNT_MAX } from '../wire/listeners.ts';
import type { ContainerName } from './container-runtime.ts';

/** The configured space, for all addresses that mean the same everywhere in it (wasm-modules/assembly/agent/address-spaces.ts). */
const DEFAULT_SPACE_HANDLE = 1;
/** Keeps an Announce far below the largest frame: a process is a few hundred bytes, its control group at most 4 KiB. */
const PROCESSES_PER_FRAME = 128;
const HANDLES_PER_FRAME = 8192;
const NAMED_ADDRESSES_PER_FRAME = 2048;
/** What a reducer takes of one host. */
const HOST_ADDRESS_COUNT_MAX = 2048;
/** 127.0.0.1 and ::1, in 16 bytes (RFC 4291). */
const LOOPBACKS = [
  Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1),
  Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
];

export interface AnnouncementsOptions {
  /** Name of the configured address space. */
  addressSpace: string;
  /** Names this boot of this machine: namespaces of two machines have the same numbers. */
  boot: string;
}

/** Handles that are free from now on. */
export interface EndedHandles {
  processes: readonly number[];
  labels: readonly number[];
}

export class Announcements {
  readonly #boot: string;
  readonly #processes = new Map<number, Process>();
  readonly #spaces = new Map<number, AddressSpace>();
  readonly #labels = new Map<number, Label>();
  /** By the address in hexadecimal digits. */
  readonly #namedAddresses = new Map<string, NamedAddress>();
  #addresses: Uint8Array[] = [];
  /** Not told on this channel yet. */
  #newProcesses = new Map<number, Process>();
  #newSpaces = new Map<number, AddressSpace>();
  #newLabels = new Map<number, Label>();
  #newNamedAddresses = new Map<string, NamedAddress>();
  #addressesChanged = true;
  /** A Listener frame; undefined until the host has had one. */
  #listeners: Uint8Array<ArrayBuffer> | undefined;
  #listenersChanged = false;
  #listenersOmitted = 0;

  constructor({ addressSpace, boot }: AnnouncementsOptions) {
    this.#boot = boot;
    this.#addSpace({ handle: DEFAULT_SPACE_HANDLE, name: addressSpace });
  }

  addProcess(process: Process): void {
    this.#processes.set(process.handle, process);
    this.#newProcesses.set(process.handle, process);
  }

  /** Its processes are told again, if they were told already: a reducer takes the newest. What a process has for a pod uid stays. */
  nameContainer(containerId: string, name: ContainerName): void {
    for (const process of this.#processes.values()) {
      if (process.containerId !== containerId) continue;
      this.addProcess({ ...process, ...name, podUid: process.podUid || name.podUid });
    }
  }

  /** Loopback addresses belong to the host in each of its namespaces. */
  setSpaces(spaces: readonly NetnsSpace[]): void {
    for (const { handle, netns } of spaces) this.#addSpace({ handle, name: `${this.#boot}/netns:${netns}` });
    if (spaces.length > 0) this.#addressesChanged = true;
  }

  addLabel(label: Label): void {
    this.#labels.set(label.handle, label);
    this.#newLabels.set(label.handle, label);
  }

  /** Label 0: it has no name any more. */
  nameAddress(named: NamedAddress): void {
    const key = Buffer.from(named.address).toString('hex');
    if (named.label === 0) this.#namedAddresses.delete(key);
    else this.#namedAddresses.set(key, named);
    this.#newNamedAddresses.set(key, named);
  }

  #addSpace(space: AddressSpace): void {
    this.#spaces.set(space.handle, space);
    this.#newSpaces.set(space.handle, space);
  }

  /** All addresses of the host, 16 bytes each, loopback and link-local ones left out. */
  setHostAddresses(addresses: readonly Uint8Array[]): void {
    const isSame =
      addresses.length === this.#addresses.length &&
      addresses.every((one, index) => Buffer.compare(one, this.#addresses[index]) === 0);
    if (isSame) return;
    this.#addresses = [...addresses];
    this.#addressesChanged = true;
  }

  /** All listening sockets of the host. */
  setListeners(listeners: readonly Listener[]): void {
    this.#listenersOmitted = Math.max(0, listeners.length - LISTENER_COUNT_MAX);
    const payload = encodeListeners(listeners);
    if (this.#listeners === undefined ? listeners.length === 0 : Buffer.compare(payload, this.#listeners) === 0) return;
    this.#listeners = payload;
    this.#listenersChanged = true;
  }

  /** Listening sockets for which the frame has no room. */
  get listenersOmitted(): number {
    return this.#listenersOmitted;
  }

  /** What is new since the last call, after what ended: the handles of `ended` are free from then on. */
  encodeNews(ended: EndedHandles): Payload[] {
    const endedProcesses = ended.processes.filter(
      (handle) => this.#processes.delete(handle) && !this.#newProcesses.delete(handle),
    );
    const endedLabels = ended.labels.filter((handle) => this.#labels.delete(handle) && !this.#newLabels.delete(handle));
    return this.#encode({
      processes: [...this.#newProcesses.values()],
      addressSpaces: [...this.#newSpaces.values()],
      labels: [...this.#newLabels.values()],
      namedAddresses: [...this.#newNamedAddresses.values()],
      endedProcesses,
      endedLabels,
    });
  }

  /** Everything, for a channel that knows nothing. What ended is left out. */
  encodeAll(ended: EndedHandles): Payload[] {
    for (const handle of ended.processes) this.#processes.delete(handle);
    for (const handle of ended.labels) this.#labels.delete(handle);
    this.#addressesChanged = true;
    this.#listenersChanged = true;
    return this.#encode({
      processes: [...this.#processes.values()],
      addressSpaces: [...this.#spaces.values()],
      labels: [...this.#labels.values()],
      namedAddresses: [...this.#namedAddresses.values()],
      endedProcesses: [],
      endedLabels: [],
    });
  }

  #encode({
    processes,
    addressSpaces,
    labels,
    namedAddresses,
    endedProcesses,
    endedLabels,
  }: Required<Omit<Announce, 'hostAddresses'>>) {
    const announces: Announce[] = [
      ...split(endedProcesses, HANDLES_PER_FRAME).map((part) => ({ endedProcesses: part })),
      ...split(endedLabels, HANDLES_PER_FRAME).map((part) => ({ endedLabels: part })),
      ...split(addressSpaces, PROCESSES_PER_FRAME).map((part) => ({ addressSpaces: part })),
      ...split(processes, PROCESSES_PER_FRAME).map((part) => ({ processes: part })),
      ...split(labels, PROCESSES_PER_FRAME).map((part) => ({ labels: part })),
      ...split(namedAddresses, NAMED_ADDRESSES_PER_FRAME).map((part) => ({ namedAddresses: part })),
    ];
    if (this.#addressesChanged) announces.push({ hostAddresses: this.#hostAddresses() });
    this.#newProcesses.clear();
    this.#newSpaces.clear();
    this.#newLabels.clear();
    this.#newNamedAddresses.clear();
    this.#addressesChanged = false;
    const payloads: Payload[] = announces.map((announce) => ({
      kind: FrameKind.Announce,
      payload: encodeAnnounce(announce),
    }));
    if (this.#listenersChanged && this.#listeners !== undefined)
      payloads.push({ kind: FrameKind.Listener, payload: this.#listeners });
    this.#listenersChanged = false;
    return payloads;
  }

  /** They replace one another, so they are one frame. The host's own come first. */
  #hostAddresses(): HostAddress[] {
    const own = this.#addresses.map((address) => ({ address, addressSpace: DEFAULT_SPACE_HANDLE }));
    const spaces = [...this.#spaces.keys()].filter((handle) => handle !== DEFAULT_SPACE_HANDLE);
    const loopbacks = spaces.flatMap((addressSpace) => LOOPBACKS.map((address) => ({ address, addressSpace })));
    return [...own, ...loopbacks].slice(0, HOST_ADDRESS_COUNT_MAX);
  }
}

function split<T>(items: readonly T[], countMax: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += countMax) parts.push(items.slice(at, at + countMax));
  return parts;
}
