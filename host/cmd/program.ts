// The command line: one file per role. Only the role that runs is loaded; each exports `register(command)`.
import './early-signals.ts';
import { Command, CommanderError } from 'commander';
import { VERSION } from '../lib/version.ts';
import { EXIT_USAGE, report } from './exit-code.ts';

interface RoleModule {
  register(command: Command): void;
}

interface Role {
  summary: string;
  load: () => Promise<RoleModule>;
}

const ROLES: Readonly<Record<string, Role>> = {
  up: { summary: 'agent, reducer and a live view of this host in one command', load: () => import('./up.ts') },
  agent: {
    summary: 'observe the sockets of this host and tell a reducer or a file',
    load: () => import('./agent-command.ts'),
  },
  reducer: { summary: 'join, name and roll up what agents tell; export it', load: () => import('./reducer.ts') },
  edges: { summary: 'print who talks to whom, from the API of a reducer', load: () => import('./edges.ts') },
  certs: { summary: 'a small authority for the certificates of agents and reducers', load: () => import('./certs.ts') },
  config: { summary: 'check and print what a role would run with', load: () => import('./config.ts') },
  doctor: { summary: 'what this machine offers the agent, and what is missing', load: () => import('./doctor.ts') },
  replay: { summary: 'feed recordings of agents through a reducer', load: () => import('./replay.ts') },
};

const program = new Command('tributary')
  .description('Network observability from both ends of every connection.')
  .version(VERSION)
  .helpOption('-h, --help', 'this text')
  .showHelpAfterError('(tributary ROLE --help lists the options of a role)')
  // Roles take this over. One form for all that is wrong, whoever found it.
  .configureOutput({
    outputError: (text, write) => write(text.replace(/^error: (.*)/, 'tributary: $1 (TRB_USAGE)')),
  })
  .exitOverride();

const wanted = process.argv[2];
for (const [name, role] of Object.entries(ROLES)) {
  const command = program
    .command(name)
    .description(role.summary)
    .exitOverride()
    .showHelpAfterError(`(tributary ${name} --help lists the options)`);
  if (name === wanted) (await role.load()).register(command);
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The terminal is gone: SIGHUP says so, too, and lets a role end in order.
  if (error.code === 'EIO') return;
  // Whoever reads, `head` for one, has read enough.
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

try {
  await program.parseAsync();
  // A pipe that is full takes the rest later, and process.exit would not wait for it.
  await new Promise((resolve) => process.stdout.write('', resolve));
  // An export in flight, or a connection that is kept for the next one, would hold the process for many seconds.
  process.exit();
} catch (error) {
  // Not only exitCode: what a role had started by then, a thread or a listener, would keep the process alive.
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : EXIT_USAGE);
  process.exit(report(error));
}
