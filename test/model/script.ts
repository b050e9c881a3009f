// What happens at a reducer, in order: the input that the product and the reference model share. Records are those of schemas/wire.fbs.
import type {
  Baseline,
  Close,
  Fold,
  Once,
  Open,
  Settled,
  Tally,
  UpdateNarrow,
  UpdateWide,
} from '../../host/wire/gen/wire-layout.ts';
import type { Announce } from '../../host/wire/gen/wire-tables.ts';

/** The first window of every script; windows of ten seconds, counted from the epoch of Unix time. */
export const FIRST_WINDOW = 1_000;
export const WINDOW_NS = 10_000_000_000n;

/** One agent process. `agent`: the host, with a boot id of its own, and so the identity that a later session takes over. */
export interface Session {
  session: bigint;
  agent: number;
  zone: string;
  firstWindow: number;
}

export type Frame =
  | { kind: 'announce'; announce: Partial<Announce> }
  | { kind: 'snapshotBegin' | 'snapshotEnd'; window: number }
  | { kind: 'open'; items: Open[] }
  | { kind: 'baseline'; items: Baseline[] }
  | { kind: 'tally'; items: Tally[] }
  | { kind: 'once'; items: Once[] }
  | { kind: 'narrow'; items: UpdateNarrow[] }
  | { kind: 'wide'; items: UpdateWide[] }
  | { kind: 'close'; items: Close[] }
  | { kind: 'fold'; items: Fold[] }
  | { kind: 'settled'; items: Settled[] }
  | { kind: 'windowEnd'; window: number; fromWindow: number };

export type Step =
  /** A connection begins; `repeats`: so many frames that the reducer has are sent once more after it resumes. */
  | { step: 'connect'; session: Session; repeats: number }
  | { step: 'tell'; session: Session; frames: Frame[] }
  | { step: 'cut' | 'goodbye'; session: Session }
  /** Time passes beyond the end of the open window, for which some agents are waited for. */
  | { step: 'wait' }
  /** The open window ends, and so does the time for which it waits. */
  | { step: 'close'; window: number };
