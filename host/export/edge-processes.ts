// The executables behind the ends of an edge that are named by a unit or container, as the id_id level of a window tells them. Names of
// several windows are one set; beyond the limit only their number is known, and of that what is certain.
import { PROCESSES_RECORD_SIZE, readProcessesRecord, TallySide } from '../wire/gen/records-layout.ts';

/** Names of an end that are kept, as many as one window tells. */
export const PROCESS_NAME_COUNT_MAX = 16;

export interface ProcessNames {
  /** In the order of their bytes. */
  names: readonly string[];
  /** There are at least so many more. */
  more: number;
}

export interface EdgeProcesses {
  client: ProcessNames;
  server: ProcessNames;
}

export const NO_NAMES: ProcessNames = { names: [], more: 0 };

/** By index of the point; `first`: where the ProcessesRecords begin, which go on to the end of `view`. */
export function readProcesses(view: DataView, first: number): Map<number, EdgeProcesses> {
  const byPoint = new Map<number, EdgeProcesses>();
  for (let offset = first; offset < view.byteLength; ) {
    const { point, side, textBytes, more } = readProcessesRecord(view, offset);
    const text = Buffer.from(view.buffer, view.byteOffset + offset + PROCESSES_RECORD_SIZE, textBytes).toString();
    const told = { names: text.split('\0').slice(0, -1), more };
    const known = byPoint.get(point) ?? { client: NO_NAMES, server: NO_NAMES };
    byPoint.set(point, side === TallySide.Client ? { ...known, client: told } : { ...known, server: told });
    offset += PROCESSES_RECORD_SIZE + textBytes + (-textBytes & 7);
  }
  return byPoint;
}

export function mergeProcesses(a: EdgeProcesses | undefined, b: EdgeProcesses | undefined): EdgeProcesses | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return { client: mergeNames(a.client, b.client), server: mergeNames(a.server, b.server) };
}

function mergeNames(a: ProcessNames, b: ProcessNames): ProcessNames {
  const all = [...new Set([...a.names, ...b.names])].sort(byBytes);
  const count = Math.max(all.length, a.names.length + a.more, b.names.length + b.more);
  const names = all.slice(0, PROCESS_NAME_COUNT_MAX);
  return { names, more: count - names.length };
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
