import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pino } from 'pino';
import { UsageError } from '../lib/usage-error.ts';
import { checked, type Loaded, loadConfiguration } from './load.ts';
import { Reload } from './reload.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'tributary-reload-'));
after(() => rmSync(FOLDER, { recursive: true }));

interface World {
  reload: Reload;
  /** Puts a text in the place of the file. */
  write: (yaml: string) => void;
  /** What was logged since the last look. */
  logged: () => string[];
  applied: string[];
  read: () => number;
}

let files = 0;

function createWorld(yaml: string): World {
  const world = createUnready(yaml);
  world.reload.ready();
  return world;
}

function createUnready(yaml: string): World {
  const config = join(FOLDER, `${files++}.yaml`);
  const write = (text: string): void => writeFileSync(config, text);
  write(yaml);
  const load = (): Loaded => loadConfiguration({}, { config, flags: [] });
  const lines: string[] = [];
  const applied: string[] = [];
  let readCount = 0;
  const reload = new Reload(
    { role: 'reducer', loaded: load() },
    {
      load: checked(load, ({ values: { insecure, tls } }) => {
        if (insecure && tls.ca !== undefined) throw new UsageError('TRB_TEST', 'insecure and tls.ca');
      }),
      log: pino({ base: undefined }, { write: (line) => lines.push(JSON.parse(line).msg) }),
      apply: { 'log.level': ({ log }) => void applied.push(String(log.level)) },
      always: async () => void readCount++,
    },
  );
  return { reload, write, logged: () => lines.splice(0), applied, read: () => readCount };
}

test('what can change takes effect once, also when it is taken back', async () => {
  const { reload, write, logged, applied } = createWorld('');
  write('log:\n  level: debug\n');
  await reload.reload();
  assert.deepEqual(logged(), ['log.level is now "debug", was unset']);
  await reload.reload();
  assert.deepEqual(logged(), ['configuration read again: no option has changed']);
  write('');
  await reload.reload();
  assert.deepEqual(logged(), ['log.level is now unset, was "debug"']);
  assert.deepEqual(applied, ['debug', 'undefined']);
});

test('what cannot change is named each time, until the file says again what the process runs with', async () => {
  const { reload, write, logged, applied } = createWorld('reducer:\n  workers: 1\n');
  write('reducer:\n  workers: 2\nlog:\n  level: warn\n');
  const stays = 'reducer.workers stays 1: 2 takes effect with a restart';
  await reload.reload();
  assert.deepEqual(logged(), [stays, 'log.level is now "warn", was unset']);
  await reload.reload();
  assert.deepEqual(logged(), [stays]);
  write('reducer:\n  workers: 1\nlog:\n  level: warn\n');
  await reload.reload();
  assert.deepEqual(logged(), ['configuration read again: no option has changed']);
  assert.deepEqual(applied, ['warn']);
});

test('a file with anything wrong in it changes no option, and that is said; certificates are read all the same', async () => {
  const { reload, write, logged, applied, read } = createWorld('');
  const cases: [string, RegExp][] = [
    [
      'log:\n  level: debug\nreducer:\n  workers: many\n',
      /stays as it was: .*yaml:4:12: reducer.workers: "many" is not/,
    ],
    ['log:\n  level: debug\nagent:\n  widow: 1s\n', /stays as it was: .*agent.widow: is no option/],
    ['log: [', /stays as it was: .*is not YAML/],
    ['log:\n  level: debug\ninsecure: true\ntls:\n  ca: /x\n', /stays as it was: insecure and tls.ca/],
  ];
  for (const [yaml, message] of cases) {
    write(yaml);
    await reload.reload();
    const [line, ...rest] = logged();
    assert.match(line, message);
    assert.deepEqual(rest, []);
  }
  assert.deepEqual(applied, []);
  assert.equal(read(), cases.length);
});

test('options of other roles are none of its business', async () => {
  const { reload, write, logged } = createWorld('');
  write('agent:\n  window: 1s\n');
  await reload.reload();
  assert.deepEqual(logged(), ['configuration read again: no option has changed']);
});

test('signals are answered between start and stop, one after the other', async (context) => {
  const { reload, write, applied, read } = createWorld('');
  // Without a listener the signal would end this process.
  const keep = (): void => {};
  process.on('SIGHUP', keep);
  context.after(() => process.off('SIGHUP', keep));
  const signal = async (): Promise<void> => {
    const heard = once(process, 'SIGHUP');
    process.kill(process.pid, 'SIGHUP');
    await heard;
  };
  reload.start();
  write('log:\n  level: debug\n');
  await signal();
  await reload.reload();
  assert.deepEqual(applied, ['debug']);
  assert.equal(read(), 2);
  reload.stop();
  write('log:\n  level: error\n');
  await signal();
  assert.deepEqual(applied, ['debug']);
});

test('a signal during the start takes effect when the start is done', async (context) => {
  const { reload, write, applied, read } = createUnready('');
  context.after(() => reload.stop());
  reload.start();
  write('log:\n  level: debug\n');
  const heard = once(process, 'SIGHUP');
  process.kill(process.pid, 'SIGHUP');
  await heard;
  const second = reload.reload();
  assert.equal(read(), 0);
  reload.ready();
  await second;
  assert.deepEqual(applied, ['debug']);
  assert.equal(read(), 2);
});
