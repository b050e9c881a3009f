// The face of agent.wasm: its exports as types, and views over its memory that follow when the memory grows.
import { strict as assert } from 'node:assert';
import type { Payload } from '../wire/channel-sender.ts';
import {
  type AgentCounters,
  LABEL_TO_NAME_SIZE,
  type LabelToName,
  NETNS_SPACE_SIZE,
  type NetnsSpace,
  PROCESS_TO_NAME_SIZE,
  type ProcessToName,
  readAgentCounters,
  readEncodedPayload,
  readLabelToName,
  readNetnsSpace,
  readProcessToName,
} from '../wire/gen/agent-layout.ts';
import { NAMED_ADDRESS_SIZE, type NamedAddress, readNamedAddress } from '../wire/gen/wire-layout.ts';

/** A limit that is left out has its default (wasm-modules/assembly/agent/limits.ts). */
export interface AgentLimits {
  sockets?: number;
  closedRetained?: number;
  journalEntries?: number;
  settled?: number;
  tallies?: number;
}

interface AgentExports {
  memory: WebAssembly.Memory;
  agent_init(
    seedLow: bigint,
    seedHigh: bigint,
    sockets: number,
    closed: number,
    journal: number,
    settled: number,
    tallies: number,
  ): void;
  agent_set_window_length(lengthNs: number): void;
  agent_inbox(bytes: number): number;
  agent_events(address: number, bytes: number): number;
  agent_begin_census(): void;
  agent_end_census(timeNs: bigint): void;
  agent_settle(timeNs: bigint, isDnsWhole: number): void;
  agent_tally_host(kind: number, code: number, amount: number): void;
  agent_tell_dns_names(): void;
  agent_processes_to_name(): number;
  agent_processes_to_name_count(): number;
  agent_processes_named(): void;
  agent_processes_ended(): number;
  agent_processes_ended_count(): number;
  agent_space_news(): number;
  agent_space_news_count(): number;
  agent_labels_to_name(): number;
  agent_labels_to_name_count(): number;
  agent_named_addresses(): number;
  agent_named_addresses_count(): number;
  agent_labels_ended(): number;
  agent_labels_ended_count(): number;
  agent_begin_window(window: number, clockOffsetNs: bigint): void;
  agent_begin_snapshot(window: number, clockOffsetNs: bigint, isSameReducer: number, takenWindow: number): void;
  agent_encode_next(): number;
  agent_commit(window: number): void;
  agent_counters(): number;
}

/** `text`: empty for what the host has to make a text of. */
export type LabelNews = LabelToName & { text: string };

export interface AgentModuleOptions {
  module: WebAssembly.Module;
  /** 128 secret bits: who connects to this host may choose what is hashed. */
  hashSeed: readonly [bigint, bigint];
  limits?: AgentLimits;
  /** Tell DNS lookups apart by the names that were asked for. */
  dnsNames?: boolean;
}

export class AgentModule {
  readonly #exports: AgentExports;
  #view: DataView;

  constructor({ module, hashSeed, limits = {}, dnsNames = false }: AgentModuleOptions) {
    this.#exports = new WebAssembly.Instance(module, {}).exports as AgentExports;
    const { sockets = 0, closedRetained = 0, journalEntries = 0, settled = 0, tallies = 0 } = limits;
    this.#exports.agent_init(...hashSeed, sockets, closedRetained, journalEntries, settled, tallies);
    if (dnsNames) this.#exports.agent_tell_dns_names();
    this.#view = new DataView(this.#exports.memory.buffer);
  }

  setWindowLength(lengthNs: bigint): void {
    this.#exports.agent_set_window_length(Number(lengthNs));
  }

  /** Room for events in linear memory; valid until anything else is called. */
  inbox(bytes: number): Uint8Array {
    const address = this.#exports.agent_inbox(bytes);
    return new Uint8Array(this.#exports.memory.buffer, address >>> 0, bytes);
  }

  /** Applies the first `bytes` of the inbox. `name` is called for processes that have got a handle. */
  apply(bytes: number, name: (process: ProcessToName) => void): void {
    const inbox = this.#exports.agent_inbox(0);
    for (let at = 0; at < bytes; ) {
      const applied = this.#exports.agent_events(inbox + at, bytes - at);
      const named = this.#nameProcesses(name);
      assert(applied > 0 || named > 0, `${bytes - at} bytes are not whole events`);
      at += applied;
    }
  }

  tallyHost(kind: number, code: number, amount: number): void {
    this.#exports.agent_tally_host(kind, code, amount);
  }

  /** Everything that the kernel had at `timeNs` (CLOCK_MONOTONIC) was applied, the totals of sockets included. */
  settle(timeNs: bigint, isDnsWhole: boolean): void {
    this.#exports.agent_settle(timeNs, isDnsWhole ? 1 : 0);
  }

  beginCensus(): void {
    this.#exports.agent_begin_census();
  }

  endCensus(timeNs: bigint): void {
    this.#exports.agent_end_census(timeNs);
  }

  #nameProcesses(name: (process: ProcessToName) => void): number {
    const count = this.#exports.agent_processes_to_name_count();
    const address = this.#exports.agent_processes_to_name() >>> 0;
    const view = this.#memory();
    for (let index = 0; index < count; index++) name(readProcessToName(view, address + index * PROCESS_TO_NAME_SIZE));
    if (count > 0) this.#exports.agent_processes_named();
    return count;
  }

  /** Labels that have got a handle since the last call, `text` for those of LabelKind.Text; to be announced before the next payload. */
  labelNews(): LabelNews[] {
    const news: LabelNews[] = [];
    for (;;) {
      const address = this.#exports.agent_labels_to_name() >>> 0;
      const count = this.#exports.agent_labels_to_name_count();
      if (count === 0) return news;
      const view = this.#memory();
      for (let index = 0; index < count; index++) {
        const label = readLabelToName(view, address + index * LABEL_TO_NAME_SIZE);
        news.push({ ...label, text: this.#text(label) });
      }
    }
  }

  #text({ textAddress, textBytes }: LabelToName): string {
    return new TextDecoder().decode(new Uint8Array(this.#exports.memory.buffer, textAddress, textBytes));
  }

  /** What this host calls addresses, as far as it is new; to be announced before the next payload, after `labelNews`. */
  namedAddressNews(): NamedAddress[] {
    const news: NamedAddress[] = [];
    for (;;) {
      const address = this.#exports.agent_named_addresses() >>> 0;
      const count = this.#exports.agent_named_addresses_count();
      if (count === 0) return news;
      const view = this.#memory();
      for (let index = 0; index < count; index++) {
        const { address: bytes, ...named } = readNamedAddress(view, address + index * NAMED_ADDRESS_SIZE);
        news.push({ ...named, address: bytes.slice() });
      }
    }
  }

  /** Handles that are free from now on; to be announced before the next payload, after `labelNews`. */
  endedLabels(): number[] {
    const address = this.#exports.agent_labels_ended() >>> 0;
    const count = this.#exports.agent_labels_ended_count();
    return [...new Uint32Array(this.#exports.memory.buffer, address, count)];
  }

  beginWindow(window: number, clockOffsetNs: bigint): void {
    this.#exports.agent_begin_window(window, clockOffsetNs);
  }

  beginSnapshot(window: number, clockOffsetNs: bigint, isSameReducer: boolean, takenWindow = window): void {
    this.#exports.agent_begin_snapshot(window, clockOffsetNs, isSameReducer ? 1 : 0, takenWindow);
  }

  /** Handles that are free from now on; to be announced before the next payload. */
  endedProcesses(): number[] {
    const address = this.#exports.agent_processes_ended() >>> 0;
    const count = this.#exports.agent_processes_ended_count();
    return [...new Uint32Array(this.#exports.memory.buffer, address, count)];
  }

  /** Spaces that belong to another namespace since the last call; to be announced before the next payload. */
  spaceNews(): NetnsSpace[] {
    const address = this.#exports.agent_space_news() >>> 0;
    const count = this.#exports.agent_space_news_count();
    const view = this.#memory();
    return Array.from({ length: count }, (_, index) => readNetnsSpace(view, address + index * NETNS_SPACE_SIZE));
  }

  /** The rest of what `beginWindow` or `beginSnapshot` has to tell, copied out of linear memory. */
  encodeAll(): Payload[] {
    const payloads: Payload[] = [];
    for (;;) {
      const result = this.#exports.agent_encode_next() >>> 0;
      if (result === 0) return payloads;
      const { address, bytes, kind } = readEncodedPayload(this.#memory(), result);
      payloads.push({ kind, payload: new Uint8Array(this.#exports.memory.buffer).slice(address, address + bytes) });
    }
  }

  commit(window: number): void {
    this.#exports.agent_commit(window);
  }

  counters(): AgentCounters {
    const address = this.#exports.agent_counters() >>> 0;
    return readAgentCounters(this.#memory(), address);
  }

  /** Growing memory detaches every view. */
  #memory(): DataView {
    if (this.#view.buffer !== this.#exports.memory.buffer) this.#view = new DataView(this.#exports.memory.buffer);
    return this.#view;
  }
}
