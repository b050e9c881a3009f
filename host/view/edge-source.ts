// Where a view gets its edges: from the store of this process, or over the API of another.
import type { ApiTarget } from '../api/api-target.ts';
import { ApiError, fetchJson } from '../api/client.ts';
import type { EdgesAnswer, HistoryAnswer } from '../api/edge-answer.ts';
import { readEdges, readHistory } from '../api/edges.ts';
import type { WindowStore } from '../api/window-store.ts';
import type { LevelName } from '../export/levels.ts';
import { healthLine, type PipelineTotals } from './health-line.ts';

export interface EdgesRequest {
  level: LevelName;
  windows: number;
  /** Last window; the newest when undefined. */
  until: number | undefined;
}

export interface HistoryRequest extends EdgesRequest {
  key: string;
}

export interface EdgeSource {
  edges: (request: EdgesRequest) => Promise<EdgesAnswer>;
  /** Undefined when no window of the range tells of the edge. */
  history: (request: HistoryRequest) => Promise<HistoryAnswer | undefined>;
  health: () => Promise<string>;
}

export function storeSource(store: WindowStore, pipeline: () => PipelineTotals): EdgeSource {
  return {
    edges: ({ level, windows, until }) => readEdges(store, level, windows, until),
    history: (request) => readHistory(store, request),
    health: async () => healthLine(pipeline()),
  };
}

/** `parameters`: filters that the reducer applies. */
export function apiSource(target: ApiTarget, parameters: URLSearchParams): EdgeSource {
  return {
    edges: ({ level, windows, until }) => {
      const query = new URLSearchParams([...parameters, ...rangeParameters(level, windows, until)]);
      return fetchJson<EdgesAnswer>(target, `/api/v1/edges?${query}`);
    },
    history: ({ level, windows, until, key }) => {
      const query = new URLSearchParams([...rangeParameters(level, windows, until), ['key', key]]);
      return fetchJson<HistoryAnswer>(target, `/api/v1/edges/history?${query}`).catch((error: Error) => {
        if (error instanceof ApiError && error.status === 404) return undefined;
        throw error;
      });
    },
    health: async () => healthLine(await fetchJson<PipelineTotals>(target, '/api/v1/pipeline')),
  };
}

function rangeParameters(level: LevelName, windows: number, until: number | undefined): [string, string][] {
  const range: [string, string][] = [
    ['level', level],
    ['windows', String(windows)],
  ];
  return until === undefined ? range : [...range, ['until', String(until)]];
}
