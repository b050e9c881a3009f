// `tributary config`: what a role would run with, without running it.
import { type Command, Option } from 'commander';
import { FILE_FLAG, FILE_FLAG_DESCRIPTION } from '../config/flags.ts';
import { configurationSchema } from '../config/json-schema.ts';
import { type Loaded, loadConfiguration } from '../config/load.ts';
import { ROLE_NAMES, type RoleName } from '../config/option.ts';
import { printConfiguration } from '../config/print.ts';
import { checkRole } from './role-checks.ts';

interface Flags {
  config?: string;
  role?: RoleName;
}

export function register(command: Command): void {
  const role = (text: string): Option => new Option('--role <ROLE>', text).choices(ROLE_NAMES);
  command
    .command('check')
    .description(
      'find what is wrong in the file and the environment; with a role also what does not go together, and its files',
    )
    .option(FILE_FLAG, FILE_FLAG_DESCRIPTION)
    .addOption(role('check what this role would find at its start'))
    .action(check);
  command
    .command('print')
    .description('print the values in effect and where each came from, as a file that says the same')
    .option(FILE_FLAG, FILE_FLAG_DESCRIPTION)
    .addOption(role('only what this role reads'))
    .action(print);
  command
    .command('schema')
    .description('print the JSON Schema of the file, for editors')
    .action(() => console.log(JSON.stringify(configurationSchema(), undefined, 2)));
}

async function check(flags: Flags): Promise<void> {
  const loaded = load(flags);
  if (flags.role !== undefined) await checkRole(flags.role, loaded);
  console.log('the configuration is fine');
}

function print(flags: Flags): void {
  process.stdout.write(printConfiguration(load(flags).settings, flags.role));
}

function load({ config }: Flags): Loaded {
  return loadConfiguration(process.env, { config, flags: [] });
}
