// A reducer and the agents of a few hosts, each with one process, for tests that tell a story in a few frames.
import { Role, RoleSource } from '../../host/wire/gen/kernel-events-layout.ts';
import { Level } from '../../host/wire/gen/records-layout.ts';
import type { Open } from '../../host/wire/gen/wire-layout.ts';
import type { Hello } from '../../host/wire/gen/wire-tables.ts';
import { hello } from '../../host/wire/testing/hello.ts';
import { announceFrame, ipv4, open, process, SPACE, windowEnd } from './agent-frames.ts';
import { type FleetOptions, ReducerFleet, type SessionRef } from './reducer-fleet.ts';
import { mergeOutputs, type Point } from './window-output.ts';

export const FIRST_WINDOW = 3000;

/** Address of the host with this number. */
export const addressOf = (host: number): Uint8Array => ipv4(10, 0, 0, host);

export class TwoHosts {
  readonly fleet: ReducerFleet;
  window = FIRST_WINDOW;
  /** All points of the window that closed last. */
  points: Point[] = [];
  readonly #told = new Set<SessionRef>();
  readonly #agents: SessionRef[] = [];
  /** `from_window` of the first edge of each window that had one. */
  readonly fromWindows: number[] = [];

  /** What the ends of each edge said by themselves in the window that closed last, zeros left out. */
  own: Record<string, Record<string, number>> = {};

  readonly #workers: number;

  /** Agents are spread over the workers by host. */
  constructor(
    module: WebAssembly.Module,
    windowNs?: number,
    { workers = 1, seed = 1, random }: Pick<FleetOptions, 'workers' | 'seed' | 'random'> = {},
  ) {
    this.#workers = workers;
    this.fleet = new ReducerFleet(module, { openWindow: FIRST_WINDOW, windowNs, workers, seed, random });
  }

  /** An agent whose one process is the unit `unit`. */
  agent(host: number, unit: string, values: Partial<Hello> = {}): SessionRef {
    const identity = { nodeId: BigInt(host), bootId: BigInt(host), session: BigInt(host), nodeName: `host-${host}` };
    const ref = this.fleet.open(host % this.#workers, hello({ ...identity, ...values }));
    const spaces = [{ handle: SPACE, name: 'default' }];
    this.fleet.tell(ref, announceFrame({ addressSpaces: spaces, processes: [process(1, { unit })] }));
    this.#agents.push(ref);
    return ref;
  }

  say(agent: SessionRef, ...frames: Uint8Array[]): void {
    this.fleet.tell(agent, Buffer.concat(frames));
  }

  end(agent: SessionRef, from = this.window, window = this.window): void {
    this.say(agent, windowEnd(window, from));
    this.#told.add(agent);
  }

  /** Ends the window of every agent and closes it: what each edge of the finest level shows but for `own`, zeros left out. */
  close(): Record<string, Record<string, number>> {
    for (const agent of this.#agents) if (!this.#told.has(agent)) this.say(agent, windowEnd(this.window));
    this.#told.clear();
    this.points = mergeOutputs(this.fleet.close(this.window++));
    const points = this.points.filter(({ level }) => level === Level.IdId);
    if (points.length > 0) this.fromWindows.push(Number(points[0].fields.get('fromWindow')));
    this.own = showFields(points, isOwnNumber);
    return showFields(points, (name) => name !== 'fromWindow' && !isOwnNumber(name));
  }

  /** The agent is gone: its session no longer tells windows. */
  detach(agent: SessionRef, reason: number): void {
    this.#agents.splice(this.#agents.indexOf(agent), 1);
    this.fleet.detach(agent, reason);
  }
}

function isOwnNumber(name: string): boolean {
  return /^(client|server)(Bytes|Packets)(Sent|Received)$/.test(name);
}

function showFields(points: Point[], isShown: (name: string) => boolean): Record<string, Record<string, number>> {
  return Object.fromEntries(
    points.map(({ client, server, serverPort, fields }) => [
      `${client.id} > ${server.id} :${serverPort}`,
      Object.fromEntries(
        [...fields]
          .filter(([name, value]) => value !== 0n && isShown(name))
          .map(([name, value]) => [name, Number(value)]),
      ),
    ]),
  );
}

/** The client's end of a connection from host 1 to port 80 of host 2. */
export function clientEnd(values: Partial<Open> = {}): Open {
  return open({ localAddress: addressOf(1), remoteAddress: addressOf(2), ...values });
}

export function serverEnd(values: Partial<Open> = {}): Open {
  return open({
    localAddress: addressOf(2),
    remoteAddress: addressOf(1),
    localPort: 80,
    remotePort: 40000,
    role: Role.Server,
    roleSource: RoleSource.Kernel,
    ...values,
  });
}
