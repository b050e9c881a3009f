// Totals of most sockets are below 2^32: on the way to another worker their updates take 32 bytes and not 64. They stay totals, so that what is
// told twice, or by two sessions, still counts once.
import { END_TOTALS_SIZE, EndTotals, MatchUpdateNarrow } from '../gen/records';

const wide: EndTotals = changetype<EndTotals>(memory.data(<i32>END_TOTALS_SIZE, 8));

/** True when a MatchUpdateNarrow says all of `totals` that an update tells. */
export function areNarrow(totals: EndTotals): bool {
  const sums =
    totals.bytesSent | totals.bytesReceived | totals.segmentsSent | totals.segmentsReceived | totals.retransmits;
  return sums <= u32.MAX_VALUE;
}

/** `totals` are narrow. */
export function narrowTotalsInto(update: MatchUpdateNarrow, totals: EndTotals): void {
  update.bytesSent = <u32>totals.bytesSent;
  update.bytesReceived = <u32>totals.bytesReceived;
  update.segmentsSent = <u32>totals.segmentsSent;
  update.segmentsReceived = <u32>totals.segmentsReceived;
  update.retransmits = <u32>totals.retransmits;
  update.srttUs = totals.srttUs;
}

/** The totals that `update` was made of, without `minRttUs`; valid until the next call. */
export function widenTotals(update: MatchUpdateNarrow): EndTotals {
  wide.bytesSent = update.bytesSent;
  wide.bytesReceived = update.bytesReceived;
  wide.segmentsSent = update.segmentsSent;
  wide.segmentsReceived = update.segmentsReceived;
  wide.retransmits = update.retransmits;
  wide.srttUs = update.srttUs;
  return wide;
}
