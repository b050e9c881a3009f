import type { ApiTarget } from './api-target.ts';
import { fetchJson } from './client.ts';
import type { WindowsAnswer } from './edge-answer.ts';

const WAIT_SECONDS = 30;

export interface FollowOptions {
  signal: AbortSignal;
  /** So many windows were dropped before they could be told. */
  missed: (count: number) => void;
}

/**
 * The numbers of the windows that close at a reducer, each once and in order, beginning with the newest, also when several close together.
 * Ends with the signal; throws ApiError.
 */
export async function* followWindows(target: ApiTarget, { signal, missed }: FollowOptions): AsyncGenerator<number> {
  let last: number | undefined;
  while (!signal.aborted) {
    const { windows, oldest } = await askWindows(target, last, signal);
    if (last !== undefined && oldest !== null && oldest > last + 1) missed(oldest - last - 1);
    for (const window of windows) {
      if (signal.aborted) return;
      yield window;
      last = window;
    }
  }
}

const NO_WINDOWS: WindowsAnswer = { windowNs: 0, oldest: null, newest: null, windows: [] };

async function askWindows(target: ApiTarget, last: number | undefined, signal: AbortSignal): Promise<WindowsAnswer> {
  const since = last === undefined ? '' : `&since=${last}`;
  try {
    return await fetchJson<WindowsAnswer>(target, `/api/v1/windows?wait=${WAIT_SECONDS}${since}`, {
      waitMs: WAIT_SECONDS * 1000,
      signal,
    });
  } catch (error) {
    if (signal.aborted) return NO_WINDOWS;
    throw error;
  }
}
