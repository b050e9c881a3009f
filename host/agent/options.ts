// What a user may ask of `tributary agent` as a whole: what each option may be is checked already, what goes together is checked here.
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { UsageError } from '../lib/usage-error.ts';
import type { TlsFiles } from '../tls/credentials.ts';
import { parseTlsFiles } from '../tls/tls-options.ts';
import { isLocal, type ListenAddress } from '../wire/transport/address.ts';
import { resolveScope, type Scope, type ScopeSetting } from './scope.ts';

export interface AgentOptions {
  reducer?: {
    address: ListenAddress;
    insecure: boolean;
    tls?: TlsFiles;
    /** What the reducer's certificate has to stand for, unless it is the host of the address. */
    serverName?: string;
  };
  /** File for the same frames. */
  output?: string;
  /** All that is looked at. */
  scope?: Scope;
  windowNs: bigint;
  /** Compress what is told to the reducer. */
  zstd: boolean;
  /** Count what the kernel drops. */
  drops: boolean;
  /** Time DNS lookups. */
  dns: boolean;
  /** Tell them apart by the names that were asked for. */
  dnsNames: boolean;
  /** Follow UDP. */
  udp: boolean;
  /** A flow of datagrams is over after so long without one, nanoseconds. */
  udpIdle: bigint;
  /** Sockets of runtimes that know the names of containers: Docker's or Podman's, and containerd's. */
  containerSocket: string;
  containerdSocket: string;
  /** Share of one processor that the agent and its programs may take; undefined: any. */
  cpuLimit?: number;
  node: string;
  zone: string;
}

/** The configuration as far as an agent reads it. */
export interface AgentSettings {
  readonly insecure: boolean;
  readonly tls: Partial<TlsFiles> & { readonly serverName?: string };
  readonly agent: {
    readonly reducer?: ListenAddress;
    readonly output?: string;
    readonly scope?: ScopeSetting;
    /** Nanoseconds. */
    readonly window: bigint;
    readonly node?: string;
    readonly zone: string;
    /** Undefined: as the place of the reducer suggests. */
    readonly zstd?: boolean;
    readonly drops: boolean;
    readonly dns: boolean;
    readonly dnsNames: boolean;
    readonly udp: boolean;
    /** Nanoseconds. */
    readonly udpIdle: bigint;
    readonly containerSocket: string;
    readonly containerdSocket: string;
    /** Per cent of one processor. */
    readonly cpuLimit?: number;
  };
}

/** Throws UsageError. */
export function resolveAgentOptions({ insecure, tls: files, agent }: AgentSettings): AgentOptions {
  const { reducer: address, output, window: windowNs, zone, drops, dns, dnsNames, udp, udpIdle } = agent;
  const tls = parseTlsFiles(files, insecure);
  if (address === undefined && output === undefined) {
    throw new UsageError(
      'TRB_AGENT_OUTPUT',
      'nowhere to tell: add --reducer HOST:PORT, --reducer unix:PATH or --output file:PATH (agent.reducer, agent.output)',
    );
  }
  const { serverName } = files;
  const scope = agent.scope && resolveScope(agent.scope);
  const reducer = address && {
    ...{ address, insecure },
    ...(tls === undefined ? {} : { tls }),
    ...(serverName === undefined ? {} : { serverName }),
  };
  return {
    ...(reducer === undefined ? {} : { reducer }),
    ...(output === undefined ? {} : { output }),
    ...(scope === undefined ? {} : { scope }),
    windowNs,
    // Short connections are told in a sixth of the bytes then; on one host bytes cost nothing.
    zstd: agent.zstd ?? (address !== undefined && !isLocal(address)),
    drops,
    dns,
    dnsNames,
    udp,
    udpIdle,
    containerSocket: agent.containerSocket,
    containerdSocket: agent.containerdSocket,
    ...(agent.cpuLimit === undefined ? {} : { cpuLimit: agent.cpuLimit / 100 }),
    // Without a name of its own, a namespace is a host; a control group is a part of one.
    node: agent.node ?? (scope?.kind === 'netns' ? basename(scope.path) : hostname()),
    zone,
  };
}
