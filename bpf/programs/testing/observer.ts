// The collector as the tests use it: events are drained by a timer and kept, and a test waits for what must come.
import { setTimeout as sleep } from 'node:timers/promises';
import {
  KernelEventType,
  readSocketEvent,
  SOCKET_EVENT_SIZE,
  type SocketEvent,
} from '../../../host/wire/gen/kernel-events-layout.ts';
import { type Collector, type CollectorOptions, type HookStatus, load, type WalkName } from '../../addon/index.ts';

/** Far more than anything here takes on a busy machine. */
const PATIENCE_MS = 60_000;
const target = new Uint8Array(SOCKET_EVENT_SIZE * 4096);
const view = new DataView(target.buffer);

/** An event of another type than those of sockets. */
export interface OtherEvent {
  type: number;
  bytes: Uint8Array;
}

function decode(bytes: number, others: OtherEvent[]): SocketEvent[] {
  const events: SocketEvent[] = [];
  for (let offset = 0; offset < bytes; offset += view.getUint16(offset + 2, true)) {
    const type = view.getUint16(offset, true);
    const size = view.getUint16(offset + 2, true);
    if (type <= KernelEventType.SocketOwner) events.push(readSocketEvent(view, offset));
    else others.push({ type, bytes: target.slice(offset, offset + size) });
  }
  return events;
}

export class Observer {
  readonly collector: Collector;
  /** Every event so far, in order; walks are not among them. */
  readonly events: SocketEvent[] = [];
  readonly others: OtherEvent[] = [];
  readonly hooks: HookStatus[];

  /** Throws when a hook is not served, unless the kernel is one that may lack some. */
  constructor(options: CollectorOptions = {}, { mayLackHooks = false } = {}) {
    this.collector = load(options);
    this.hooks = this.collector.attach();
    const failed = this.hooks.filter((status) => !status.attached);
    if (failed.length > 0 && !mayLackHooks) throw new Error(`not attached: ${JSON.stringify(failed)}`);
  }

  drain(): SocketEvent[] {
    for (;;) {
      const bytes = this.collector.drainInto(target);
      if (bytes === 0) return this.events;
      this.events.push(...decode(bytes, this.others));
    }
  }

  walk(name: WalkName): SocketEvent[] {
    const events: SocketEvent[] = [];
    for (;;) {
      const bytes = this.collector.iterate(name, target);
      if (bytes === 0) return events;
      events.push(...decode(bytes, this.others));
    }
  }

  /** Waits for the first event that `matches`; the error lists what came instead. */
  async find(what: string, matches: (event: SocketEvent) => boolean): Promise<SocketEvent> {
    for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(5)) {
      const found = this.drain().find(matches);
      if (found) return found;
    }
    throw new Error(`no event came: ${what}; there were: ${this.events.map(describe).join('; ')}`);
  }

  close(): void {
    this.collector.close();
  }
}

function describe(event: SocketEvent): string {
  return `type ${event.type} reason ${event.closeReason} role ${event.role} ports ${event.localPort}>${event.remotePort} pid ${event.ownerPid} netns ${event.netns}`;
}

/** IPv4 in dotted form, IPv6 as hexadecimal groups without compression. */
export function formatAddress(address: Uint8Array): string {
  const bytes = Buffer.from(address);
  if (bytes.subarray(0, 12).toString('hex') === '00000000000000000000ffff') return bytes.subarray(12).join('.');
  return bytes.toString('hex').replace(/(.{4})(?=.)/g, '$1:');
}
