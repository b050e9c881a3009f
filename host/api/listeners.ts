// Listening sockets, as agents tell them → what the API says.
import ipaddr from 'ipaddr.js';
import type { SessionState } from '../reducer/coordinator.ts';
import type { Listener } from '../wire/gen/wire-layout.ts';
import type { ListenersAnswer } from './edge-answer.ts';

type Answered = ListenersAnswer['listeners'][number];

/** By node and scope, then in the order of ports in which each agent tells them. */
export function listListeners(sessions: readonly SessionState[]): ListenersAnswer {
  return {
    listeners: [...sessions]
      .sort((a, b) => order(a.hello.nodeName, b.hello.nodeName) || order(a.hello.scope, b.hello.scope))
      .flatMap(({ hello, listeners }) => listeners.map((listener) => toAnswer(hello.nodeName, hello.scope, listener))),
    omitted: sessions.reduce((sum, { listenersOmitted }) => sum + listenersOmitted, 0),
  };
}

function toAnswer(node: string, scope: string, { address, port, ipVersion, netns, pid, comm }: Listener): Answered {
  return {
    ...{ node, scope, port, netns, pid },
    address: ipVersion === 4 ? ipaddr.fromByteArray([...address.subarray(12)]).toString() : toIpv6(address),
    process: new TextDecoder().decode(comm).replace(/\0.*$/s, ''),
  };
}

/** RFC 5952. */
function toIpv6(address: Uint8Array): string {
  return new ipaddr.IPv6([...address]).toRFC5952String();
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
