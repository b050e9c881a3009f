export interface BackoffOptions {
  firstMs: number;
  maxMs: number;
  /** Uniform in [0, 1). */
  random: () => number;
}

/** Delays that double up to `maxMs`, each cut by a random part of up to one half, so that a fleet does not return in step. */
export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Milliseconds to wait after one more failure; at most `maxMs`. */
  nextMs(): number {
    const { firstMs, maxMs, random } = this.#options;
    const delayMs = Math.min(maxMs, firstMs * 2 ** this.#failures);
    if (delayMs < maxMs) this.#failures++;
    return delayMs * (1 - random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
