// What each role refuses at its start beyond one option at a time: options that do not go together, and files that cannot be used.
import { readToken } from '../api/api-access.ts';
import { type ApiTargetOptions, resolveApiTarget } from '../api/api-target.ts';
import { refuseWhere, refuseWith, refuseWithout } from '../config/conflicts.ts';
import type { Configuration } from '../config/definition.ts';
import type { Loaded } from '../config/load.ts';
import type { RoleName } from '../config/option.ts';
import { isOtlpConfigured } from '../export/otlp-environment.ts';
import { UsageError } from '../lib/usage-error.ts';
import { loadCredentials, type TlsFiles } from '../tls/credentials.ts';
import { parseTlsFiles } from '../tls/tls-options.ts';
import { formatAddress, isLocal, type ListenAddress } from '../wire/transport/address.ts';
import { assertReachable } from '../wire/transport/tcp.ts';
import { agentOptionsOf, OF_CONNECTION } from './agent-checks.ts';
import { checkLateness, resolveReducerOptions } from './reducer-options.ts';
import type { ReducerServiceOptions } from './reducer-service.ts';

const OF_REPLAY_HERE = ['replay.workers', 'replay.seed', 'replay.level', 'replay.json'];

/** Throws UsageError. */
export function reducerOptionsOf(loaded: Loaded): ReducerServiceOptions {
  const options = resolveReducerOptions(loaded.values);
  if (options.tls === undefined) refuseWithout(loaded, 'tls.cert', ['reducer.verify-node-names']);
  if ('path' in options.api) refuseBesideSocket(loaded);
  return options;
}

/** Throws UsageError. */
export function checkUp(loaded: Loaded): void {
  const { up, api, prometheus } = loaded.values;
  checkLateness('up', up.window, up.lateness);
  if ('path' in api.address) refuseBesideSocket(loaded);
  refuseOtherHosts('api.address', api.address);
  if (prometheus.listen !== undefined) refuseOtherHosts('prometheus.listen', prometheus.listen);
}

/** `up` has neither certificates nor a way to do without. */
function refuseOtherHosts(key: string, address: ListenAddress): void {
  if (isLocal(address)) return;
  const fix = 'use 127.0.0.1, or the roles agent and reducer, which have TLS';
  throw new UsageError('TRB_INSECURE', `${key}: ${formatAddress(address)} is not on this host alone: ${fix}`);
}

export function apiTargetOf({ api: { address, tokenFile, ca }, insecure }: Configuration): ApiTargetOptions {
  return { api: formatAddress(address), apiTokenFile: tokenFile, apiCa: ca, insecure };
}

/** Throws UsageError. */
export function checkReplay(loaded: Loaded): void {
  const { insecure, tls } = loaded.values;
  const { level, json, reducer } = loaded.values.replay;
  parseTlsFiles(tls, insecure);
  if (reducer === undefined) refuseWithout(loaded, 'replay.reducer', OF_CONNECTION);
  else refuseWith(loaded, 'replay.reducer', OF_REPLAY_HERE);
  if (level === 'all' && !json)
    throw new UsageError('TRB_LEVEL', '--level all goes with --json alone: add --json, or choose one level');
}

/** All that a start of the role would refuse before it opens anything but files. Throws UsageError. */
export async function checkRole(role: RoleName, loaded: Loaded): Promise<void> {
  if (role === 'agent') {
    const { reducer } = agentOptionsOf(loaded);
    if (reducer !== undefined) assertReachable(reducer, reducer.tls !== undefined);
    await checkFiles(reducer?.tls);
  } else if (role === 'reducer') {
    const { tls, listen, api, prometheus, insecure, apiTokenFile } = reducerOptionsOf(loaded);
    for (const address of [...listen, api, ...(prometheus === undefined ? [] : [prometheus])])
      assertReachable({ address, insecure }, tls !== undefined);
    await checkFiles(tls);
    if (apiTokenFile !== undefined) await readToken(apiTokenFile);
    isOtlpConfigured(process.env);
  } else if (role === 'up') {
    checkUp(loaded);
    isOtlpConfigured(process.env);
  } else if (role === 'edges') {
    await resolveApiTarget(apiTargetOf(loaded.values));
  } else {
    checkReplay(loaded);
  }
}

async function checkFiles(tls: TlsFiles | undefined): Promise<void> {
  if (tls !== undefined) await loadCredentials(tls, new Date());
}

function refuseBesideSocket(loaded: Loaded): void {
  refuseWhere(loaded, ['api.token-file'], 'with a unix socket: give --api HOST:PORT, or leave this out');
}
