/**
 * The rules of docs/protocol.md that protocol code can be told to break. The product never does: its only value is `RULES`. The simulator
 * hands in a copy with one rule off and shows a seed that fails, so each rule is known to be needed and to be tested.
 */
export interface Rules {
  /** Section 2: a frame that was seen already is dropped. */
  readonly dropRepeatedFrames: boolean;
  /** Section 2: a frame that skips its predecessor is refused. */
  readonly refuseGaps: boolean;
  /** Section 6: Received follows consumption, not arrival. */
  readonly receiveWhenConsumed: boolean;
  /** Section 6: nothing is sent beyond the credit. */
  readonly honourCredit: boolean;
  /** Section 6: after a reconnect what was sent and not received is sent again. */
  readonly resendInFlight: boolean;
  /** Section 6: a reducer that does not know the channel gets a snapshot, not the rest of an old one. */
  readonly snapshotToStranger: boolean;
  /** Section 6: a window that was committed stays committed. */
  readonly commitNeverFalls: boolean;
  /** Section 6: what a fresh reducer tells of older commits is applied before the snapshot. */
  readonly commitBeforeSnapshot: boolean;
  /** Section 6: a commit of one incarnation says nothing of what another sealed. */
  readonly commitByIncarnation: boolean;
  /** Section 6: what was sealed and not yet committed is told again after a reconnect. */
  readonly resendSealed: boolean;
}

export const RULES: Rules = Object.freeze({
  dropRepeatedFrames: true,
  refuseGaps: true,
  receiveWhenConsumed: true,
  honourCredit: true,
  resendInFlight: true,
  snapshotToStranger: true,
  commitNeverFalls: true,
  commitBeforeSnapshot: true,
  commitByIncarnation: true,
  resendSealed: true,
});
