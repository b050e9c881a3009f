import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { createLog } from '../telemetry/log.ts';
import { tellStateOnSignal } from './stop-signal.ts';

const MODULE = JSON.stringify(import.meta.resolve('./stop-signal.ts'));
const LOG_MODULE = JSON.stringify(import.meta.resolve('../telemetry/log.ts'));

/** What a process says that stops like this, and its exit code. */
async function stopLike(context: TestContext, stop: string): Promise<{ code: unknown; log: string; tookMs: number }> {
  const program = `
    import { stopInTime } from ${MODULE};
    import { createLog } from ${LOG_MODULE};
    // Something else that would keep the process.
    setInterval(() => {}, 1_000_000);
    await stopInTime(createLog('test', { level: 'info', format: 'json' }), ${stop});
    process.exit(0);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  context.after(() => child.kill('SIGKILL'));
  const began = performance.now();
  const [[code], log] = await Promise.all([once(child, 'exit'), text(child.stderr)]);
  return { code, log, tookMs: performance.now() - began };
}

test('a stop that hangs is given up after 4.8 seconds, which the log and the exit code say', async (context) => {
  const { code, log, tookMs } = await stopLike(context, '() => new Promise(() => {})');
  assert.equal(code, 1);
  const { msg, waitedMs } = JSON.parse(log);
  assert.match(msg, /^stopping takes too long/);
  assert.equal(waitedMs, 4_800);
  assert.ok(tookMs >= 4_800, `${tookMs} ms`);
});

test('a stop that comes to its end is not cut off, and says nothing', async (context) => {
  const { code, log } = await stopLike(context, '() => new Promise((resolve) => setTimeout(resolve, 200))');
  assert.deepEqual([code, log], [0, '']);
});

test('a stop that fails is the failure of its role', async (context) => {
  const { code, log } = await stopLike(context, "() => Promise.reject(new Error('the disk is full'))");
  assert.notEqual(code, 0);
  assert.match(log, /the disk is full/);
});

test('SIGUSR1 tells the state also after the level of the log was raised', async (context) => {
  const log = createLog('test', {
    level: 'info',
    format: 'json',
    destination: { write: (line) => void lines.push(line) },
  });
  const lines: string[] = [];
  context.after(() => process.removeAllListeners('SIGUSR1'));
  tellStateOnSignal(log, () => ({ windows: 3 }));
  log.level = 'error';
  process.emit('SIGUSR1');
  assert.equal(lines.length, 1);
  const { msg, windows } = JSON.parse(lines[0]);
  assert.deepEqual([msg, windows], ['state', 3]);
});
