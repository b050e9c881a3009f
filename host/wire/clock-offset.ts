// The reducer's clock as seen from an agent: of the last few round trips the shortest says most, because an answer that took d can be
// wrong by at most d / 2 (RFC 5905, section 10, the clock filter).

const SAMPLE_COUNT_MAX = 8;
/**
 * A slower answer waited, while a process was stopped or the link was cut. It says little, but the first one is taken all the
 * same, because without any the clocks of the two hosts may be hours apart; whichever follows is shorter and replaces it.
 */
const ROUND_TRIP_NS_MAX = 5_000_000_000n;

interface Sample {
  offsetNs: bigint;
  roundTripNs: bigint;
}

export class ClockOffset {
  #samples: Sample[] = [];

  /** Nanoseconds to add to the agent's time; undefined before the first sample. */
  get offsetNs(): bigint | undefined {
    return this.#best()?.offsetNs;
  }

  get roundTripNs(): bigint | undefined {
    return this.#best()?.roundTripNs;
  }

  /** One round trip, Unix nanoseconds: both ends on the agent's clock, the middle on the reducer's. True when the offset changed. */
  add(sentNs: bigint, reducerNs: bigint, receivedNs: bigint): boolean {
    const roundTripNs = receivedNs - sentNs;
    const isSlow = roundTripNs > ROUND_TRIP_NS_MAX;
    if (roundTripNs < 0n || (isSlow && this.#samples.length > 0)) return false;
    const before = this.offsetNs;
    this.#samples.push({ offsetNs: reducerNs - (sentNs + receivedNs) / 2n, roundTripNs });
    if (this.#samples.length > SAMPLE_COUNT_MAX) this.#samples.shift();
    return this.offsetNs !== before;
  }

  /** Another process answers from now on, perhaps on another machine: what was measured does not hold for it. */
  reset(): void {
    this.#samples = [];
  }

  #best(): Sample | undefined {
    let best: Sample | undefined;
    for (const sample of this.#samples) if (best === undefined || sample.roundTripNs <= best.roundTripNs) best = sample;
    return best;
  }
}
