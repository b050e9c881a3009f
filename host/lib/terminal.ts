import { isatty } from 'node:tty';

/** Somebody sits before this process: then SIGHUP says that the terminal is gone. */
export const HAS_TERMINAL = isatty(0) || isatty(1);
