// An agent is on every host: what it loads stays in its memory for as long as it runs.
import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from './sources.ts';

/** Prints the modules of the agent itself, not of the process that reads its configuration. */
const TELL_MODULES = `
import { registerHooks } from 'node:module';
const loaded = [];
registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
process.on('exit', () => process.argv[1].endsWith('main.ts') && console.log(JSON.stringify(loaded)));`;

test('an agent loads no library that reads or checks a configuration, and none of an exporter', () => {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      `--import=data:text/javascript,${encodeURIComponent(TELL_MODULES)}`,
      join(ROOT, 'host/cmd/main.ts'),
      // Refused when everything is loaded: another host needs TLS.
      ...['agent', '--reducer', '192.0.2.1:4400'],
    ],
    { encoding: 'utf8', timeout: 240_000 },
  );
  assert.equal(status, 2, stderr);
  const loaded: string[] = JSON.parse(stdout);
  assert.ok(
    loaded.some((url) => url.endsWith('/host/agent/agent.ts')),
    stdout,
  );
  assert.deepEqual(
    loaded.filter((url) => /node_modules\/(zod|yaml|commander|fastify|react|@opentelemetry|@peculiar)\//.test(url)),
    [],
  );
});
