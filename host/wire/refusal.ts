// Every reason for which the wire layer refuses bytes, a frame or a connection, and what follows from it.

/** `frame`: only this frame is lost. `connection`: the byte stream or the protocol cannot be trusted any further. */
export type RefusalEffect = 'frame' | 'connection';

export const REFUSAL_EFFECT = {
  /** More than FRAME_BYTES_MAX, or than HELLO_BYTES_MAX before the peer is known. */
  length: 'connection',
  /** Payload without zstd whose length is not a multiple of 8. */
  alignment: 'connection',
  /** Kind 0. */
  kind: 'connection',
  /** Unknown flags, or a CRC without its flag. */
  flags: 'connection',
  crc: 'frame',
  /** Does not decompress, to more than FRAME_BYTES_MAX, or to a length that is not a multiple of 8. */
  zstd: 'frame',
  /** A frame of the control plane that does not verify or lies about its fields. */
  malformed: 'frame',
  /** A kind that only flows in the other direction, or a second Hello. */
  direction: 'frame',
  after_goodbye: 'frame',
  /** The first frame is not a Hello, or something follows it before Welcome. */
  before_welcome: 'connection',
  hello_late: 'connection',
  /** The channel skipped a frame. */
  seq_gap: 'connection',
  credit_exceeded: 'connection',
  /** More than FRAMES_REFUSED_MAX refused frames. */
  quarantined: 'connection',
  /** An open connection on which not even the end of a window came for SILENCE_WINDOWS_MAX windows. */
  silent: 'connection',
  /** The peer does not read what it is sent. */
  not_reading: 'connection',
} as const satisfies Record<string, RefusalEffect>;

export type Refusal = keyof typeof REFUSAL_EFFECT;

/** How often each reason was met. */
export class RefusalCounters {
  readonly counts = new Map<Refusal, number>();
  total = 0;

  count(refusal: Refusal): void {
    this.counts.set(refusal, this.of(refusal) + 1);
    this.total++;
  }

  of(refusal: Refusal): number {
    return this.counts.get(refusal) ?? 0;
  }
}
