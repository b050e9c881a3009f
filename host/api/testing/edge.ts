import type { Edge, EdgeEnd } from '../edge-answer.ts';

export const END: EdgeEnd = {
  ...{ kind: 'process', id: '', role: '', zone: '', host: '', address: '', process: '', container: '' },
  ...{ processes: [], moreProcesses: 0 },
  ...{ containerName: '', imageName: '', imageTag: '', podUid: '', podQos: '', podNamespace: '', podName: '' },
};

/** An edge on which nothing moved, with `part` in place of it. */
export function makeEdge(part: Partial<Edge> = {}): Edge {
  return {
    key: 'edge',
    client: END,
    server: END,
    transport: 'tcp',
    serverPort: 443,
    bytes: { forward: 0, reverse: 0 },
    packets: { forward: 0, reverse: 0 },
    retransmits: { forward: 0, reverse: 0 },
    rtt: null,
    connections: 0,
    closed: 0,
    active: 0,
    failures: { refused: 0, timedOut: 0, abandoned: 0, unreachable: 0, other: 0 },
    resets: { client: 0, server: 0 },
    match: { both: 0, client: 0, server: 0 },
    own: { client: null, server: null },
    residualBytes: 0,
    judgedBytes: 0,
    lateBytes: 0,
    spanSeconds: 1,
    ...part,
  };
}

export function processEnd(host: string, process: string): EdgeEnd {
  return { ...END, id: `${host}/${process}`, role: process, host, process, processes: [process] };
}

export function unitEnd(host: string, unit: string): EdgeEnd {
  return { ...END, kind: 'service', id: `${host}/${unit}`, role: unit, host };
}

export function addressEnd(address: string): EdgeEnd {
  return { ...END, kind: 'private_address', id: address, role: '(private)', address };
}
