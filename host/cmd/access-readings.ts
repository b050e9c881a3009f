// Who was let in and who was not, as metrics of schemas/metrics.yaml.
import type { SelfReading } from '../export/otlp-metrics.ts';
import { snakeCase } from '../lib/snake-case.ts';
import type { HandshakeCounts } from '../reducer/handshake-counts.ts';

/** `secondsToExpiry`: of the reducer's certificate; undefined without one. */
export function readAccess(
  handshakes: HandshakeCounts,
  agentsRefused: Readonly<Record<string, number>>,
  apiRefused: Readonly<Record<string, number>>,
  secondsToExpiry: number | undefined,
): SelfReading[] {
  const counted = (
    metric: 'handshakes' | 'agentsRefused' | 'apiRefused',
    counts: Readonly<Record<string, number>>,
  ): SelfReading[] =>
    Object.entries(counts).map(([reason, value]) => ({ metric, attributes: { reason: snakeCase(reason) }, value }));
  return [
    ...counted('handshakes', handshakes),
    ...counted('agentsRefused', agentsRefused),
    ...counted('apiRefused', apiRefused),
    ...(secondsToExpiry === undefined
      ? []
      : [{ metric: 'certificateExpiry' as const, attributes: {}, value: secondsToExpiry }]),
  ];
}
