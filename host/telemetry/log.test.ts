import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { type LogOptions, writeText } from './log.ts';

const LOG = JSON.stringify(join(import.meta.dirname, 'log.ts'));

/** What a process that logs at info and at debug leaves on standard error. */
function runLogger(options: LogOptions): string {
  const program = `
    import { createLog } from ${LOG};
    const log = createLog('agent', ${JSON.stringify(options)});
    log.info({ window: 3 }, 'told');
    log.debug('detail');
    process.exit(0);`;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, NO_COLOR: undefined },
    encoding: 'utf8',
  });
  return run.stderr;
}

test('where standard error is no terminal, each record is a line of JSON', () => {
  const text = runLogger({});
  const [first, ...rest] = text.trimEnd().split('\n');
  const { name, level, msg, window } = JSON.parse(first);
  assert.deepEqual({ name, level, msg, window, rest }, { name: 'agent', level: 30, msg: 'told', window: 3, rest: [] });
});

test('the format text is without colours where there is no terminal', () => {
  assert.match(runLogger({ format: 'text' }), /^\[\d\d:\d\d:\d\d\.\d{3}\] INFO \(agent\): told \{"window":3\}\n$/);
});

test('on a terminal the same records are text', () => {
  const command = `${process.execPath} --input-type=module -e 'import { createLog } from ${LOG}; createLog("up").warn({ reason: "x" }, "lost");'`;
  const { stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
    env: { ...process.env, NO_COLOR: '1', TERM: 'xterm' },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  assert.match(stdout, /WARN \(up\): lost \{"reason":"x"\}/);
});

test('the level decides what is logged', () => {
  assert.match(runLogger({ level: 'debug' }), /"msg":"detail"/);
  assert.equal(runLogger({ level: 'silent' }), '');
});

test('control characters of outsiders are shown on a terminal, not sent to it', () => {
  const lines: string[] = [];
  const log = pino({ base: undefined }, writeText({ write: (line) => lines.push(line) }, false));
  const hostile = '\x1b[2J\r\nERROR (agent): forged\x9b31m';
  log.warn({ node: hostile, nested: { names: [hostile] }, err: new Error(hostile) }, `refused ${hostile}`);
  const text = lines.join('');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
  assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
  assert.match(text, /refused \\x1b\[2J\\x0d\\x0aERROR/);
});
