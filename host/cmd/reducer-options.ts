// What a user may ask of a reducer as a whole: what each option may be is checked already, what goes together is checked here.
import { type Configuration, defaultWorkers } from '../config/definition.ts';
import { UsageError } from '../lib/usage-error.ts';
import type { TlsFiles } from '../tls/credentials.ts';
import { parseTlsFiles } from '../tls/tls-options.ts';
import { formatAddress, type ListenAddress } from '../wire/transport/address.ts';
import type { ReducerServiceOptions } from './reducer-service.ts';

/** A window that waits longer than so many of its like shows a past that nobody watches any more. */
export const LATENESS_WINDOWS_MAX = 30;

export interface ReducerSettings extends Pick<Configuration, 'insecure' | 'api' | 'prometheus' | 'reducer'> {
  readonly tls: Partial<TlsFiles>;
}

/** Throws UsageError. */
export function resolveReducerOptions({
  insecure,
  tls: files,
  api,
  prometheus,
  reducer,
}: ReducerSettings): ReducerServiceOptions {
  const { listen, workers = defaultWorkers(), window, lateness, level, seriesBudget, verifyNodeNames } = reducer;
  const tls = parseTlsFiles(files, insecure);
  checkLateness('reducer', window, lateness);
  checkDistinct([
    ...listen.map((address) => ({ key: 'reducer.listen', address })),
    { key: 'api.address', address: api.address },
    ...(prometheus.listen === undefined ? [] : [{ key: 'prometheus.listen', address: prometheus.listen }]),
  ]);
  return {
    ...{ listen, api: api.address, workers, windowNs: window, latenessNs: lateness, levels: level, insecure },
    seriesBudget,
    ...(tls === undefined ? {} : { tls }),
    ...(verifyNodeNames ? { verifyNodeNames } : {}),
    ...(api.tokenFile === undefined ? {} : { apiTokenFile: api.tokenFile }),
    ...(prometheus.listen === undefined ? {} : { prometheus: prometheus.listen }),
  };
}

/** `role`: the section that both are in. Nanoseconds. Throws UsageError. */
export function checkLateness(role: 'reducer' | 'up', windowNs: bigint, latenessNs: bigint): void {
  if (latenessNs <= windowNs * BigInt(LATENESS_WINDOWS_MAX)) return;
  throw new UsageError(
    'TRB_LATENESS',
    `${role}.lateness is more than ${LATENESS_WINDOWS_MAX} times ${role}.window: make it shorter, or the window longer`,
  );
}

interface Listener {
  key: string;
  address: ListenAddress;
}

/** Port 0 is another port each time. */
function checkDistinct(listeners: readonly Listener[]): void {
  const seen = new Map<string, string>();
  for (const { key, address } of listeners) {
    const text = formatAddress(address);
    const other = seen.get(text);
    if (other !== undefined && !text.endsWith(':0'))
      throw new UsageError('TRB_LISTEN_TWICE', `${other} and ${key} are both ${text}: give each its own address`);
    seen.set(text, key);
  }
}
