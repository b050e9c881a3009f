/** A stage trapped or a thread died: what is in memory cannot be trusted, and agents tell everything again to the next process. */
export const EXIT_TRAP = 70;

/** Where a reducer of this host serves its API unless told otherwise. */
export const DEFAULT_API = 'unix:/run/tributary/api.sock';
