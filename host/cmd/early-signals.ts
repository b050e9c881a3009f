// Signals that come while a role is being loaded, for a few tenths of a second: by default SIGHUP would end the process, and SIGUSR1 would open
// Node's debugger. The first import of main.ts, so that it runs before anything else is read.
import { HAS_TERMINAL } from '../lib/terminal.ts';

const role = process.argv[2];
/** It reads its configuration after this, so the signal has nothing left to ask for. */
const isReloading = role === 'agent' || role === 'reducer' || (role === 'up' && !HAS_TERMINAL);

const ignore = (): void => {};

process.on('SIGUSR1', ignore);
if (isReloading) process.on('SIGHUP', ignore);
