// Which backend each hook of the agent gets here: loaded and attached as the agent does it, and taken away again. Links, programs and maps
// are descriptors of this process, so nothing can stay behind.
import type { ClockState, HookStatus } from '@tributary/bpf';
import type { Status } from './findings.ts';

export interface HookFinding {
  hook: string;
  status: Status;
  backend?: string;
  error?: string;
  cost?: string;
}

export interface KernelFindings {
  hooks: HookFinding[];
  clock: ClockState | undefined;
  /** Why nothing could be tried, with the fix. */
  obstacle?: string;
}

/** The smallest ring: the probes are attached for a moment, and nobody reads it. */
const RING_BYTES = 65_536;

/** What is lost where a hook has no backend. */
export const HOOK_COSTS: Readonly<Record<string, string>> = {
  tcp_state: 'nothing is observed',
  tcp_state_again: 'what happens to a socket while the same processor follows another is not seen at once',
  tcp_destroyed: 'a connect that times out while the kernel runs no program is not told',
  accept: 'an accepted connection has no owner until its server uses it',
  socket_send: 'an accepted connection on which its server only sends has its listener as owner',
  socket_receive: 'an accepted connection has its listener as owner until its server sends',
  reset_received: 'of a connection ended by a reset it is not told that the peer sent it',
  reset_sent: 'of a connection ended by a reset it is not told that this host sent it',
  totals: 'bytes are told when a connection closes, not in each window',
  live: 'after an overload, connections whose end was lost count as open',
  owners: 'of sockets older than the agent the process is not known',
  adopt_namespace: 'connections older than the agent that no process holds are not seen',
  datagram_sent: 'what UDP sockets send is not counted',
  datagram_arrived: 'what UDP sockets receive is not counted',
  datagram_dropped: 'datagrams that found no room in their socket count as received',
  datagram_socket_created: 'a UDP socket has no owner until it is used',
  datagram_socket_released: 'a UDP flow ends when it was idle, not with its socket',
  datagram_owners: 'of UDP sockets older than the agent the process is not known until it uses them',
  datagram_totals: 'UDP is not observed',
  retransmit: 'segments that are sent again are counted without the cause',
  zero_window: 'a receive window that is shut for less than a window of time is not seen',
  listeners: 'open ports, and what finds no room in their queues, are not told',
  drop: 'packets that the kernel drops are not counted',
  drops: 'packets that the kernel drops are not told',
  dns_sent: 'queries of this host and answers of its servers are not seen, so lookups are not timed',
  dns_arrived: 'answers to this host and queries to its servers are not seen, so lookups are not timed',
  adopt_descriptors: 'connections older than the agent are not seen',
};

export async function tryHooks(): Promise<KernelFindings> {
  try {
    // Loaded here: it may not be built, and that is a finding.
    const { clockState, load } = await import('@tributary/bpf');
    const clock = clockState();
    try {
      const collector = load({ ringBytes: RING_BYTES });
      try {
        return { hooks: collector.attach().map(toFinding), clock };
      } finally {
        collector.close();
      }
    } catch (error) {
      return { hooks: [], clock, obstacle: textOf(error) };
    }
  } catch (error) {
    return { hooks: [], clock: undefined, obstacle: textOf(error) };
  }
}

function toFinding({ hook, backend, attached, error }: HookStatus): HookFinding {
  if (attached) return { hook, status: 'ok', backend };
  const cost = HOOK_COSTS[hook];
  return { hook, status: hook === 'tcp_state' ? 'missing' : 'limited', backend, error, cost };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
