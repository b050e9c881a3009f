import { ReducerCounter, RefusalReason } from '../../host/wire/gen/records-layout.ts';

const MUST_BE_ZERO = [
  'FramesRefused',
  'FramesSkipped',
  'SocketsRefused',
  'SessionsQuarantined',
  'ClaimsRefused',
  'FlowsEvicted',
  'FoldPairsRefused',
  'FoldFlowsRefused',
  'TextsRefused',
  'NodesRefused',
  'AddressClaimsRefused',
  'ChannelNodesUnknown',
  'EdgesRefused',
  'ChannelEdgesUnknown',
  'LeavesRefused',
  'HistogramsRefused',
  'ActiveUnderflows',
  'EdgeFlowsToOther',
] as const satisfies readonly (keyof typeof ReducerCounter)[];

/** What a worker counted although every agent is honest and no limit is near. `counters`: in the order of records.ReducerCounter. */
export function countedProblems(counters: BigUint64Array): string[] {
  const problems: string[] = MUST_BE_ZERO.filter((name) => counters[ReducerCounter[name]] !== 0n).map(
    (name) => `${name} ${counters[ReducerCounter[name]]}`,
  );
  for (const [name, reason] of Object.entries(RefusalReason)) {
    const count = counters[ReducerCounter.RefusedBy + reason];
    if (reason !== RefusalReason.None && count !== 0n) problems.push(`refused by ${name} ${count}`);
  }
  const given = counters[ReducerCounter.FramesGiven];
  const judged = counters[ReducerCounter.FramesAccepted] + counters[ReducerCounter.FramesRefused];
  if (given !== judged) problems.push(`${given} frames given, ${judged} accepted or refused`);
  return problems;
}
