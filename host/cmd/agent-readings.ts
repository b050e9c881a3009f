// What the agents say of their machines and probes, as metrics of schemas/metrics.yaml.
import type { Agent } from '../api/edge-answer.ts';
import type { SelfReading } from '../export/otlp-metrics.ts';

/** Whose facts are told as metrics: each hook of each is a series. The API lists all. */
export const TOLD_AGENTS_MAX = 256;

export function readAgents(agents: readonly Agent[]): SelfReading[] {
  const left: SelfReading = {
    ...{ metric: 'seriesOverflow', attributes: { stage: 'agents' } },
    value: Math.max(0, agents.length - TOLD_AGENTS_MAX),
  };
  return [...agents.slice(0, TOLD_AGENTS_MAX).flatMap(readAgent), left];
}

function readAgent({ node, scope, version, findings, hooks }: Agent): SelfReading[] {
  const who = { agentHost: node, agentScope: scope };
  const found = (id: string): string => findings.find((finding) => finding.id === id)?.value ?? '';
  const machine = {
    ...{ osVersion: found('kernel'), hostArch: found('architecture'), agentVersion: version },
    ...{ btf: found('btf'), lockdown: found('lockdown'), cgroups: found('cgroups') },
    clockSource: found('clock_source'),
  };
  return [
    { metric: 'agentInfo', attributes: { ...who, ...machine }, value: 1 },
    ...hooks.map(
      ({ hook, backend }): SelfReading => ({
        ...{ metric: 'agentHook', attributes: { ...who, hook, backend: backend ?? 'none' } },
        value: backend === null ? 0 : 1,
      }),
    ),
  ];
}
