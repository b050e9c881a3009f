/** A stage trapped or a thread died: what is in memory cannot be trusted, and agents tell everything again to the next process. */
export const EXIT_TRAP = 70;
