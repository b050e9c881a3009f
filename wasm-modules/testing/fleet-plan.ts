// Random lives of a small fleet, as frames for the module and as events for the naive ledger: connections seen from both ends, one or none,
// late and coalesced windows, adopted and committed baselines, snapshots to the same reducer, restarted agents, rival claims, failed connects.
import { Role, RoleSource } from '../../host/wire/gen/kernel-events-layout.ts';
import { BaselineKind, type Open, OpenFlags } from '../../host/wire/gen/wire-layout.ts';
import type { Random } from '../../schemas/testing/random.ts';
import { ipv4, open, totals } from './agent-frames.ts';
import { FIELDS, PlannedAgent, type PlannedWindow, PROCESSES, type Socket } from './planned-agent.ts';

const HOSTS = 4;

export function planFleet(random: Random, firstWindow: number, windowCount: number): PlannedWindow[] {
  const plan = new FleetPlanner(random, firstWindow);
  return Array.from({ length: windowCount }, (_, index) => plan.window(firstWindow + index, index >= windowCount - 6));
}

class FleetPlanner {
  readonly #random: Random;
  readonly #agents: PlannedAgent[];
  #sessions = 100n;
  #keys = 1;
  #cookies = 1n;
  #ids = 1;
  #ports = 40000;
  /** Ends that begin in a later window. */
  #coming: { window: number; agent: PlannedAgent; socket: Socket }[] = [];

  constructor(random: Random, firstWindow: number) {
    this.#random = random;
    const next = () => this.#ids++;
    this.#agents = Array.from(
      { length: HOSTS },
      (_, host) => new PlannedAgent(random, host, '', this.#sessions++, firstWindow, next),
    );
    this.#agents.push(new PlannedAgent(random, 0, 'netns:7', this.#sessions++, firstWindow, next));
  }

  window(window: number, isEnding: boolean): PlannedWindow {
    const planned: PlannedWindow = { window, steps: new Map(), told: [] };
    if (!isEnding) for (let index = 0; index < 8; index++) this.#connect(window);
    this.#coming = this.#coming.filter((item) => {
      if (item.window > window) return true;
      item.agent.begin(item.socket);
      return false;
    });
    for (const agent of this.#agents) agent.live(planned, window, isEnding, () => this.#sessions++);
    return planned;
  }

  #connect(window: number): void {
    const random = this.#random;
    const [clientHost, serverHost] = [random.below(HOSTS), random.below(HOSTS + 2)];
    const joinKey = random.chance(0.85) ? (BigInt(this.#keys++) * 0x9e3779b97f4a7c15n) % 2n ** 64n : 0n;
    const clientPort = this.#ports++;
    const addresses = [clientHost, serverHost].map((host) => ipv4(10, 0, host, 1));
    const isWeak = joinKey === 0n && random.chance(0.3);
    const ends = [
      {
        host: clientHost,
        role: Role.Client,
        localPort: clientPort,
        remotePort: 80,
        local: addresses[0],
        remote: addresses[1],
      },
      {
        host: serverHost,
        role: Role.Server,
        localPort: 80,
        remotePort: clientPort,
        local: addresses[1],
        remote: addresses[0],
      },
    ];
    if (joinKey === 0n && clientHost === serverHost) return;
    if (random.chance(0.1)) return this.#fail(window, ends[0]);
    const mode = random.below(10);
    for (const end of ends) {
      if (end.host >= HOSTS || random.chance(0.15)) continue;
      const shape = open({
        process: 1 + random.below(PROCESSES),
        joinKey,
        cookie: this.#cookies++,
        localAddress: end.local,
        remoteAddress: end.remote,
        localPort: end.localPort,
        remotePort: end.remotePort,
        role: isWeak ? Role.Unknown : end.role,
        roleSource: isWeak ? RoleSource.None : RoleSource.Kernel,
      });
      this.#come(window, this.#agents[end.host], this.#socket(shape, end.host, mode));
      if (end.host === 0 && random.chance(0.2)) this.#come(window, this.#agents[HOSTS], this.#socket(shape, 0, 0));
      if (joinKey !== 0n && random.chance(0.1)) {
        const rival = random.below(HOSTS);
        this.#come(window, this.#agents[rival], this.#socket({ ...shape, cookie: this.#cookies++ }, rival, 0));
      }
    }
  }

  /** 0: adopted; 1: counted and partly committed; else new. */
  #socket(shape: Open, host: number, mode: number): Socket {
    const random = this.#random;
    const isOld = mode <= 1 && random.chance(0.7);
    const now = totals();
    if (isOld)
      for (const field of FIELDS)
        now[field] = BigInt(random.uint32()) * BigInt(random.uint32() >>> (4 + random.below(28)));
    const flags = !isOld ? 0 : mode === 0 ? OpenFlags.Existing : OpenFlags.Existing | OpenFlags.Counted;
    return {
      id: this.#ids++,
      open: { ...shape, flags },
      node: `host-${host}/unit-${shape.process}`,
      now,
      told: { ...now },
      windowsLeft: random.chance(0.3) ? 0 : 1 + random.below(7),
      baseline: isOld
        ? { kind: mode === 0 ? BaselineKind.Adopted : BaselineKind.Committed, totals: { ...now } }
        : undefined,
    };
  }

  #come(window: number, agent: PlannedAgent, socket: Socket): void {
    this.#coming.push({ window: window + (this.#random.chance(0.7) ? 0 : this.#random.below(3)), agent, socket });
  }

  #fail(
    window: number,
    end: { host: number; localPort: number; remotePort: number; local: Uint8Array; remote: Uint8Array },
  ): void {
    const shape = open({
      process: 1,
      cookie: this.#cookies++,
      localAddress: end.local,
      remoteAddress: end.remote,
      localPort: end.localPort,
      remotePort: end.remotePort,
    });
    const socket = this.#socket(shape, end.host, 9);
    socket.windowsLeft = -1;
    this.#come(window, this.#agents[end.host], socket);
  }
}
