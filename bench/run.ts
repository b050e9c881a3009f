// npm run bench -- NAME [options]: each benchmark answers one question and is a file of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const QUESTIONS: Record<string, string> = {
  agent: 'What does the agent cost the host that it watches?',
  reducer: 'What does the reducer cost for each record, on its whole path?',
  soak: 'Does the reducer stay as it is at half of what it can do, for half an hour?',
  native: 'How far is reducer.wasm from the same algorithm compiled for this machine?',
  naive: 'How far is reducer.wasm from what one would write first?',
  export: 'How fast do points leave through the stock exporters, and who waits for them?',
  kernels: 'What do the tables and the ring cost, against what JavaScript offers?',
  wire: 'What does the wire cost for each record?',
};

const [name, ...args] = process.argv.slice(2);
const list = Object.entries(QUESTIONS).map(([each, question]) => `  ${each.padEnd(10)} ${question}\n`);
if (name === '--help' || name === '-h') {
  process.stdout.write(`npm run bench -- NAME [--help | OPTION...]\n\n${list.join('')}`);
  process.exit(0);
}
if (name === undefined || !(name in QUESTIONS)) {
  process.stderr.write(
    `${name === undefined ? 'Which benchmark?' : `There is no benchmark ${name}.`}\n${list.join('')}`,
  );
  process.exit(2);
}
const child = spawn(process.execPath, [join(import.meta.dirname, `${name}.ts`), ...args], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
const [code] = await once(child, 'exit');
process.exitCode = code ?? 1;
