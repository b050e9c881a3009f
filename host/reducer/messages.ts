// What the coordinator (main thread) and the workers tell each other. Data of sockets and flows never passes here: frames stay with the
// worker that reads them, records cross the mesh.
import type { GoodbyeReason, Listener } from '../wire/gen/wire-layout.ts';
import type { Hello } from '../wire/gen/wire-tables.ts';
import type { PeerCertificate } from '../wire/peer-certificate.ts';

/** Dense name of one session's twin, given by the coordinator and never used again in this incarnation. */
export type TwinId = number;

/** Names a connection in the whole process: the worker that accepted it and a serial number. */
export type ConnectionId = number;

const CONNECTIONS_PER_WORKER = 2 ** 40;

export function connectionId(worker: number, serial: number): ConnectionId {
  return worker * CONNECTIONS_PER_WORKER + serial;
}

/** The worker that accepted the connection. */
export function acceptorOf(connection: ConnectionId): number {
  return Math.floor(connection / CONNECTIONS_PER_WORKER);
}

export interface Admission {
  twin: TwinId;
  connection: ConnectionId;
  /** Payload of the verified Hello. */
  hello: Uint8Array;
  resume: boolean;
  /** The first window of this session: what it tells is for that window or a later one, and waits until it is open. */
  firstWindow: number;
  openWindow: number;
  committedClosedWindow: number;
  /** For how long Hello has waited for this, milliseconds. */
  heldMs: number;
}

export type ToWorker =
  | { kind: 'admit'; admission: Admission }
  /** To the worker that accepted the connection. */
  | { kind: 'refuse'; connection: ConnectionId; reason: GoodbyeReason }
  /** To the worker of the twin: another connection takes its place. */
  | { kind: 'disconnect'; connection: ConnectionId }
  /** `reason`: kernel.CloseReason of the sockets that the twin still has. */
  | { kind: 'detach'; twin: TwinId; reason: number }
  /** `forgotten`: what has closed up to this window is exported, and no agent tells it again. */
  | { kind: 'seal'; window: number; forgotten: number }
  | { kind: 'commit'; window: number };

/** Who says Hello, as far as its connection tells. */
export interface Origin {
  /** Address and port. */
  peer: string;
  /** Undefined without TLS. */
  certificate: PeerCertificate | undefined;
}

export type FromWorker =
  /** The thread that holds the connection adds its origin. */
  | { kind: 'hello'; connection: ConnectionId; hello: Hello; payload: Uint8Array; origin?: Origin }
  /**
   * The twin has told everything up to and with `window`, and match has it or will have it before this window closes. `listeners`: of its host,
   * when they are others than before, and how many more there are.
   */
  | { kind: 'told'; twin: TwinId; window: number; listeners?: Listener[]; listenersOmitted?: number }
  /** The connection has ended; with `goodbye` the twin too, and it is detached already. */
  | { kind: 'left'; twin: TwinId; connection: ConnectionId; goodbye: boolean }
  /** The stages have no room for the session. */
  | { kind: 'rejected'; twin: TwinId }
  | { kind: 'quarantined'; twin: TwinId }
  | { kind: 'closed'; window: number; output: Uint8Array<ArrayBuffer> }
  /** The agents of this worker were told that `window` is committed. */
  | { kind: 'committed'; window: number };
