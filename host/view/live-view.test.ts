import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { healthLine } from './health-line.ts';
import { LiveView } from './live-view.ts';

const NOTHING: EdgesAnswer = { level: 'id_id', windowNs: 1e9, firstWindow: 4, lastWindow: 4, edges: [] };

/** Keeps what is written; a terminal of 20 columns when `isTTY`. */
function screen(isTTY: boolean): { out: WriteStream; written: () => string } {
  const pieces: string[] = [];
  const out = Object.create(WriteStream.prototype, {
    isTTY: { value: isTTY },
    columns: { value: 20 },
    rows: { value: 10 },
    write: { value: (text: string) => pieces.push(text) > 0 },
    on: { value: () => out },
    off: { value: () => out },
  }) as WriteStream;
  return { out, written: () => pieces.join('') };
}

test('a terminal gets its screen back, also when the process ends without stop', () => {
  const { out, written } = screen(true);
  const exitListeners = process.listenerCount('exit');
  const view = new LiveView({ by: 'rate', title: 't' }, out);
  view.start();
  assert.equal(process.listenerCount('exit'), exitListeners + 1);
  view.show({ answer: NOTHING, health: '1 agent' });
  view.stop();
  assert.equal(process.listenerCount('exit'), exitListeners);
  assert.ok(written().startsWith('\x1b[?1049h\x1b[?25l') && written().endsWith('\x1b[?25h\x1b[?1049l'));
});

test('no line of a frame is longer than the terminal is wide', () => {
  const { out, written } = screen(true);
  new LiveView({ by: 'rate', title: 'a title of more than twenty characters' }, out).show({
    answer: NOTHING,
    health: '1 agent · 20000 sockets · 1000000 frames',
  });
  const lines = stripVTControlCharacters(written()).split('\r\n');
  for (const line of lines) assert.ok(line.length <= 20, line);
  assert.equal(lines[0], 'a title of more than');
});

test('a pipe gets each window once, and the health of one in which nothing moved', () => {
  const { out, written } = screen(false);
  const view = new LiveView({ by: 'rate', title: 't' }, out);
  view.start();
  view.show({ answer: { ...NOTHING, lastWindow: null }, health: '0 agents' });
  for (const health of ['1 agent', 'again']) view.show({ answer: NOTHING, health });
  view.show({ answer: { ...NOTHING, lastWindow: 5 }, health: '2 agents' });
  view.stop();
  assert.equal(written(), '1 agent\n2 agents\n');
});

test('the health line leaves out what is zero and should be', () => {
  const totals = {
    ...{ agents: 1, framesAccepted: 9, framesRefused: 0, socketsLive: 4, socketsRefused: 0 },
    ...{ lost: 0, lateWindows: 0, exportQueue: 0 },
  };
  assert.equal(healthLine(totals), '1 agent · 4 sockets · 9 frames · lost -');
  assert.equal(
    healthLine({ ...totals, agents: 2, lost: 7, framesRefused: 1, lateWindows: 3, exportQueue: 2 }),
    '2 agents · 4 sockets · 9 frames · lost 7 · refused 1 frames · 3 windows closed without waiting · 2 windows wait for the exporter',
  );
});
