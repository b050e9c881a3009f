import type { Hello } from '../gen/wire-tables.ts';

/** What an agent of the current version says first, with what matters to the test. */
export function hello(values: Partial<Hello> = {}): Hello {
  return {
    protocolVersion: 1,
    peerRole: 0,
    nodeId: 1n,
    bootId: 1n,
    session: 1n,
    incarnation: 0n,
    agentTimeNs: 0n,
    windowNs: 10_000_000_000n,
    firstWindow: 0,
    committedWindow: 0,
    committedClosedWindow: 0,
    nodeName: 'host-1',
    scope: '',
    zone: 'zone-a',
    addressSpace: 'default',
    agentVersion: 'test',
    findings: [],
    hooks: [],
    ...values,
  };
}
