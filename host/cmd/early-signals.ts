// Signals that come while a role is being loaded, for a few tenths of a second: by default SIGHUP would end the process, and SIGUSR1 would open
// Node's debugger. The first import of main.ts, so that it runs before anything else is read.

/** These read their configuration after this, so the signal has nothing left to ask for. */
const RELOADING_ROLES = ['agent', 'reducer'];

const ignore = (): void => {};

process.on('SIGUSR1', ignore);
if (RELOADING_ROLES.includes(process.argv[2])) process.on('SIGHUP', ignore);
