// Who was let in and who was not, as metrics of schemas/metrics.yaml.
import type { SelfReading } from '../export/otlp-metrics.ts';
import type { HandshakeCounts } from '../reducer/handshake-counts.ts';

/** `secondsToExpiry`: of the reducer's certificate; undefined without one. */
export function readAccess(
  handshakes: HandshakeCounts,
  apiRefused: Readonly<Record<string, number>>,
  secondsToExpiry: number | undefined,
): SelfReading[] {
  const counted = (metric: 'handshakes' | 'apiRefused', counts: Readonly<Record<string, number>>): SelfReading[] =>
    Object.entries(counts).map(([reason, value]) => ({ metric, attributes: { reason }, value }));
  return [
    ...counted('handshakes', handshakes),
    ...counted('apiRefused', apiRefused),
    ...(secondsToExpiry === undefined
      ? []
      : [{ metric: 'certificateExpiry' as const, attributes: {}, value: secondsToExpiry }]),
  ];
}
