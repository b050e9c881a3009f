import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { startClock } from '../lib/clock.ts';
import { seededRandom } from '../lib/random.ts';
import { RecordingAgent } from './recording-agent.ts';
import { Reducer } from './reducer.ts';
import { lastWindowOf, replayOverTcp } from './replay-tcp.ts';
import { recordFleet } from './testing/recorded-fleet.ts';
import { ScriptedAgent } from './testing/scripted-agent.ts';

test('a recording waits for the goodbye of another session of its agent', { timeout: 120_000 }, async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-replay-tcp-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const { paths } = await recordFleet(folder, {
    ...{ random: seededRandom(1), agents: 1, windows: 3, connectionsPerWindow: 5 },
  });
  const recording = await RecordingAgent.open(paths[0]);
  const { windowNs, nodeName } = recording.hello;
  const address = { path: join(folder, 'agents') };
  const clock = startClock();
  const reducer = new Reducer(
    { listen: [address], insecure: false, workers: 1, windowNs, latenessNs: 0n },
    {
      ...{ log: pino({ level: 'silent' }), clock, random64: () => 1n },
      closeWindow: ({ window }) => reducer.exported(window),
      fail: assert.fail,
    },
  );
  await reducer.start();
  context.after(() => reducer.stop());
  const other = new ScriptedAgent({ address, clock, name: nodeName, session: 99n, windowNs, snapshot: [], script: [] });
  other.start();
  context.after(() => other.stop());
  while (other.snapshots === 0) await sleep(10);

  const options = { address, insecure: false, lastWindow: await lastWindowOf(recording), firstWindow: 0 };
  const replayed = replayOverTcp(await RecordingAgent.open(paths[0]), { ...options, isRealTime: false }, clock);
  replayed.catch(() => {});
  while (reducer.agentsRefused.DuplicateAgent === undefined) await sleep(10);
  await other.stop();
  await replayed;
});
