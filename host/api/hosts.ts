// What /api/v1/hosts answers: what hosts counted that belongs to no edge.
import { z } from 'zod';
import { sortedRows } from '../export/edge-rows.ts';
import { TalliesSchema, toTallies } from './tally-answer.ts';
import type { WindowStore } from './window-store.ts';

const window = z.int().min(0).nullable();

const HostSchema = z
  .strictObject({ name: z.string(), zone: z.string(), tallies: TalliesSchema })
  .meta({ id: 'Host', description: 'A host that counted something in these windows, sums over them.' });

export const HostsAnswerSchema = z
  .strictObject({
    windowNs: z.int().min(0).describe('Length of a window; 0 before the first has closed.'),
    firstWindow: window.describe('Unix time divided by windowNs; null before the first window has closed.'),
    lastWindow: window,
    hosts: z.array(HostSchema),
  })
  .meta({ id: 'HostsAnswer' });

export type HostsAnswer = z.infer<typeof HostsAnswerSchema>;

/** Over `windows` closed windows up to `until`, or the newest. */
export async function readHosts(
  store: WindowStore,
  { windows, until }: { windows: number; until?: number },
): Promise<HostsAnswer> {
  const range = await store.readHosts(windows, until);
  if (range === undefined) return { windowNs: 0, firstWindow: null, lastWindow: null, hosts: [] };
  const { windowNs, firstWindow, lastWindow, rows } = range;
  const hosts = sortedRows(rows).map((row) => ({
    name: row.client.host,
    zone: row.client.zone,
    tallies: toTallies(row),
  }));
  return { windowNs, firstWindow, lastWindow, hosts };
}
