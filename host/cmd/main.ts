// `tributary ROLE`.
import './early-signals.ts';
import { enableCompileCache } from 'node:module';
import { COMPILED } from './compiled.ts';

enableCompileCache(COMPILED);

// An agent is on every host and runs for months: it leaves what reads its command line and its configuration to a process that ends.
await import(process.argv[2] === 'agent' ? './agent.ts' : './program.ts');
