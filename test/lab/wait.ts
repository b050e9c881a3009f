import { setTimeout as sleep } from 'node:timers/promises';

/** Far more than anything here takes: a busy machine is slow, and no test is about how fast something comes. */
const PATIENCE_MS = 90_000;
const PAUSE_MS = 100;

export interface WaitOptions {
  timeoutMs?: number;
  /** What to show when the wait fails. */
  detail?: () => string;
}

/** Asks until the answer is a value; throws with `what` and the detail when the time is over. */
export async function waitFor<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  what: string,
  options: WaitOptions = {},
): Promise<T> {
  const deadline = Date.now() + (options.timeoutMs ?? PATIENCE_MS);
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}\n${options.detail?.() ?? ''}`);
    await sleep(PAUSE_MS);
  }
}
