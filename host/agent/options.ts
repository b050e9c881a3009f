// What a user may say to `tributary agent`, checked: a wrong word is answered with what would be right.
import { statSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { z } from 'zod';
import { parseDuration } from '../lib/duration.ts';
import { UsageError } from '../lib/usage-error.ts';
import type { TlsFiles } from '../tls/credentials.ts';
import { parseTlsFiles } from '../tls/tls-options.ts';
import { type ListenAddress, parseListenAddress } from '../wire/transport/address.ts';

const WINDOW_NS_MIN = 100_000_000n;
const WINDOW_NS_MAX = 3_600_000_000_000n;
/** What the names of nodes and zones are cut to in every table of the reducer. */
const NAME_LENGTH_MAX = 63;

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
  /** The only network namespace to look at. */
  scope?: { path: string; inode: number };
  windowNs: bigint;
  /** Compress what is told to the reducer. */
  zstd: boolean;
  node: string;
  zone: string;
}

const name = z.string().min(1, 'a name').max(NAME_LENGTH_MAX, `at most ${NAME_LENGTH_MAX} characters`);

const flags = z.object({
  reducer: z.string().optional(),
  output: z
    .string()
    .regex(/^file:.+$/, 'file:PATH')
    .optional(),
  scope: z
    .string()
    .regex(/^netns=.+$/, 'netns=PATH')
    .optional(),
  window: z.string().transform((text, context) => {
    const windowNs = parseDuration(text);
    if (windowNs !== undefined && windowNs >= WINDOW_NS_MIN && windowNs <= WINDOW_NS_MAX) return windowNs;
    context.addIssue({ code: 'custom', message: 'a duration from 100ms to 60m, for example 10s' });
    return z.NEVER;
  }),
  node: name.optional(),
  zone: z.string().max(NAME_LENGTH_MAX, `at most ${NAME_LENGTH_MAX} characters`).default(''),
  insecure: z.boolean().default(false),
  tlsCa: z.string().optional(),
  tlsCert: z.string().optional(),
  tlsKey: z.string().optional(),
  tlsServerName: z.string().optional(),
  zstd: z.boolean().default(false),
});

export type AgentFlags = z.input<typeof flags>;

/** Throws UsageError. */
export function parseAgentOptions(given: AgentFlags): AgentOptions {
  const parsed = flags.safeParse(given);
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues;
    const flag = String(path[0]);
    throw new UsageError('TRB_AGENT_OPTION', `--${flag} ${given[flag as keyof AgentFlags]}: expected ${message}`);
  }
  const { reducer, output, scope: scopeText, window: windowNs, node, zone, insecure, zstd } = parsed.data;
  const { tlsCa: ca, tlsCert: cert, tlsKey: key, tlsServerName: serverName } = parsed.data;
  const tls = parseTlsFiles({ ca, cert, key }, insecure);
  if (reducer === undefined && output === undefined) {
    throw new UsageError(
      'TRB_AGENT_OUTPUT',
      'nowhere to tell: add --reducer HOST:PORT, --reducer unix:PATH or --output file:PATH',
    );
  }
  const scope = scopeText === undefined ? undefined : readScope(scopeText.slice('netns='.length));
  return {
    ...(reducer === undefined
      ? {}
      : {
          reducer: {
            ...{ address: parseListenAddress(reducer), insecure },
            ...(tls === undefined ? {} : { tls }),
            ...(serverName === undefined ? {} : { serverName }),
          },
        }),
    ...(output === undefined ? {} : { output: output.slice('file:'.length) }),
    ...(scope === undefined ? {} : { scope }),
    windowNs,
    zstd,
    node: node ?? (scope === undefined ? hostname() : basename(scope.path)),
    zone,
  };
}

function readScope(path: string): { path: string; inode: number } {
  try {
    return { path, inode: statSync(path).ino };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(
      'TRB_AGENT_SCOPE',
      `--scope netns=${path}: ${reason}; ip netns list shows the names under /run/netns`,
    );
  }
}
