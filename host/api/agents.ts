// Sessions of agents → what the API tells of them.
import type { SessionState } from '../reducer/coordinator.ts';
import { FindingStatus } from '../wire/gen/wire-layout.ts';
import type { Agent } from './edge-answer.ts';

const STATUS_WORDS: readonly Agent['findings'][number]['status'][] = ['ok', 'limited', 'missing', 'unseen'];

/** By node and scope. `currentWindow`: the one in which it is now. */
export function listAgents(sessions: readonly SessionState[], currentWindow: number): Agent[] {
  return sessions
    .map((session) => toAgent(session, currentWindow))
    .sort((a, b) => order(a.node, b.node) || order(a.scope, b.scope) || order(a.session, b.session));
}

function toAgent({ hello, isConnected, toldWindow }: SessionState, currentWindow: number): Agent {
  return {
    ...{ node: hello.nodeName, scope: hello.scope, zone: hello.zone, version: hello.agentVersion },
    session: hello.session.toString(16).padStart(16, '0'),
    connected: isConnected,
    lastWindow: toldWindow || null,
    lagWindows: toldWindow === 0 ? null : Math.max(0, currentWindow - 1 - toldWindow),
    findings: (hello.findings ?? []).map(({ id, status, text }) => ({
      ...{ id, status: STATUS_WORDS[status] ?? STATUS_WORDS[FindingStatus.Unseen], value: text },
    })),
    hooks: (hello.hooks ?? []).map(({ name, backend, error }) =>
      backend === '' ? { hook: name, backend: null, error } : { hook: name, backend },
    ),
  };
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
