import type { PipelineAnswer } from '../api/edge-answer.ts';
import { formatCount } from './format.ts';

/** What the health line shows. */
export type PipelineTotals = Omit<PipelineAnswer, 'refused'>;

/** One line of pipeline health; what is zero and should be zero is left out. */
export function healthLine(totals: PipelineTotals): string {
  const parts = [
    `${totals.agents} agent${totals.agents === 1 ? '' : 's'}`,
    `${totals.socketsLive} sockets`,
    `${totals.framesAccepted} frames`,
    `lost ${formatCount(totals.lost)}`,
  ];
  if (totals.framesRefused > 0) parts.push(`refused ${totals.framesRefused} frames`);
  if (totals.socketsRefused > 0) parts.push(`refused ${totals.socketsRefused} sockets`);
  if (totals.lateWindows > 0) parts.push(`${totals.lateWindows} windows closed without waiting`);
  if (totals.exportQueue > 0) parts.push(`${totals.exportQueue} windows wait for the exporter`);
  return parts.join(' · ');
}
