// The counters of the stages as metrics of schemas/metrics.yaml.
import type { LevelName } from '../export/levels.ts';
import type { SelfReading } from '../export/otlp-metrics.ts';
import { snakeCase } from '../lib/snake-case.ts';
import type { WindowCounts } from '../reducer/reducer.ts';
import type { StageCounterName, StageCounters } from '../reducer/stage-counters.ts';
import type { WireTotals } from '../reducer/wire-totals.ts';
import { RefusalReason } from '../wire/gen/records-layout.ts';
import type { LossName } from '../wire/losses.ts';

/** Records that each stage took from the one before it and gave to the next; what ingest takes are frames. */
const RECORDS: readonly { stage: string; reason: 'received' | 'sent'; counter: StageCounterName }[] = [
  { stage: 'ingest', reason: 'sent', counter: 'RecordsToMatch' },
  { stage: 'match', reason: 'received', counter: 'RecordsMatched' },
  { stage: 'match', reason: 'sent', counter: 'EdgeFlows' },
  { stage: 'aggregate', reason: 'received', counter: 'EdgeFlowsAdded' },
];

/** Everything that is lost or coarser than it was seen, by stage and reason. */
const LOST: readonly { stage: string; reason: string; counter: StageCounterName }[] = [
  { stage: 'kernel', reason: 'ring_full', counter: 'AgentEventsLost' },
  { stage: 'agent', reason: 'socket_limit', counter: 'AgentSocketsRefused' },
  { stage: 'agent', reason: 'folded', counter: 'AgentSocketsFolded' },
  { stage: 'agent', reason: 'windows_coalesced', counter: 'AgentWindowsCoalesced' },
  { stage: 'agent', reason: 'journal_limit', counter: 'AgentJournalSkipped' },
  { stage: 'agent', reason: 'process_unnamed', counter: 'AgentProcessesUnnamed' },
  { stage: 'ingest', reason: 'refused_socket_report', counter: 'SocketReportsIgnored' },
  { stage: 'match', reason: 'linger_evicted', counter: 'FlowsEvicted' },
  { stage: 'match', reason: 'fold_pair_limit', counter: 'FoldPairsRefused' },
  { stage: 'match', reason: 'fold_flow_limit', counter: 'FoldFlowsRefused' },
  { stage: 'enrich', reason: 'node_limit', counter: 'NodesRefused' },
  { stage: 'enrich', reason: 'text_limit', counter: 'TextsRefused' },
  { stage: 'enrich', reason: 'text_cut', counter: 'TextsCut' },
  { stage: 'enrich', reason: 'address_claim', counter: 'AddressClaimsRefused' },
  { stage: 'enrich', reason: 'node_not_announced', counter: 'ChannelNodesUnknown' },
  { stage: 'aggregate', reason: 'edge_not_announced', counter: 'ChannelEdgesUnknown' },
  { stage: 'aggregate', reason: 'close_without_open', counter: 'ActiveUnderflows' },
  { stage: 'aggregate', reason: 'edge_limit', counter: 'EdgesRefused' },
  { stage: 'aggregate', reason: 'leaf_limit', counter: 'LeavesRefused' },
  { stage: 'aggregate', reason: 'histogram_limit', counter: 'HistogramsRefused' },
  { stage: 'match', reason: 'tally_ignored', counter: 'TalliesIgnored' },
  { stage: 'aggregate', reason: 'tally_limit', counter: 'TalliesRefused' },
  { stage: 'aggregate', reason: 'tally_label_limit', counter: 'TallyLabelsDropped' },
  { stage: 'aggregate', reason: 'tally_agent_limit', counter: 'TalliesOverShare' },
  { stage: 'enrich', reason: 'label_limit', counter: 'LabelsRefused' },
  { stage: 'aggregate', reason: 'process_name_limit', counter: 'ProcessPairsRefused' },
];

/** The same of what agents say they left out. Listeners are in the API. */
const AGENTS_LOST: readonly { stage: string; reason: string; loss: LossName }[] = [
  { stage: 'kernel', reason: 'socket_state_memory', loss: 'SocketStates' },
  { stage: 'kernel', reason: 'udp_flow_limit', loss: 'Datagrams' },
  { stage: 'kernel', reason: 'drop_limit', loss: 'Drops' },
  { stage: 'kernel', reason: 'state_change_missed', loss: 'StateChanges' },
  { stage: 'kernel', reason: 'program_skipped', loss: 'ProgramSkips' },
  { stage: 'agent', reason: 'tally_limit', loss: 'Tallies' },
  { stage: 'agent', reason: 'tally_folded', loss: 'FoldedTallies' },
  { stage: 'agent', reason: 'label_limit', loss: 'Labels' },
  { stage: 'agent', reason: 'dns_malformed', loss: 'DnsMessages' },
  { stage: 'agent', reason: 'dns_query_limit', loss: 'DnsQueries' },
  { stage: 'agent', reason: 'process_limit', loss: 'Processes' },
  { stage: 'agent', reason: 'address_space_limit', loss: 'AddressSpaces' },
];

/** Reasons below this one refuse whole frames, the others a socket, a claim or a session. */
const FIRST_SOCKET_REASON = RefusalReason.SocketQuota;
const FIRST_CLAIM_REASON = RefusalReason.Ambiguous;

export function readSelf(
  { counts, refused, lost }: StageCounters,
  wire: WireTotals,
  windows: Readonly<WindowCounts>,
  series: Readonly<Partial<Record<LevelName, number>>>,
): SelfReading[] {
  const reading = (metric: SelfReading['metric'], attributes: SelfReading['attributes'], value: number) => ({
    metric,
    attributes,
    value,
  });
  return [
    reading('frames', { reason: 'accepted' }, counts.FramesAccepted - counts.FramesSkipped),
    reading('frames', { reason: 'skipped' }, counts.FramesSkipped),
    reading('frames', { reason: 'repeated' }, wire.framesRepeated),
    ...Object.entries(wire.refused).map(([reason, count]) => reading('frames', { reason }, count)),
    ...Object.entries(refused).map(([name, count]) =>
      refusal(RefusalReason[name as keyof typeof RefusalReason], name, count),
    ),
    ...RECORDS.map(({ stage, reason, counter }) => reading('records', { stage, reason }, counts[counter])),
    ...LOST.map(({ stage, reason, counter }) => reading('eventsLost', { stage, reason }, counts[counter])),
    ...AGENTS_LOST.map(({ stage, reason, loss }) => reading('eventsLost', { stage, reason }, lost[loss])),
    reading('agents', {}, counts.SessionsLive),
    reading('agentBlind', {}, counts.AgentBlindMs / 1000),
    reading('windows', { reason: 'complete' }, windows.complete),
    reading('windows', { reason: 'late' }, windows.late),
    ...Object.entries(series).map(([level, count]) => reading('series', { level }, count ?? 0)),
    reading('seriesOverflow', { stage: 'aggregate' }, counts.EdgeFlowsToOther),
    reading('seriesOverflow', { stage: 'budget' }, counts.RowsToOther),
  ];
}

function refusal(reason: RefusalReason, name: string, value: number): SelfReading {
  const text = snakeCase(name);
  if (reason < FIRST_SOCKET_REASON) return { metric: 'frames', attributes: { reason: text }, value };
  const stage = reason < FIRST_CLAIM_REASON ? 'ingest' : 'match';
  return { metric: 'socketsRefused', attributes: { stage, reason: text }, value };
}
