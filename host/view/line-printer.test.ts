import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EdgesAnswer } from '../api/edge-answer.ts';
import { healthLine } from './health-line.ts';
import { LinePrinter } from './line-printer.ts';

const NOTHING: EdgesAnswer = { level: 'id_id', windowNs: 1e9, firstWindow: 4, lastWindow: 4, edges: [] };

test('a pipe gets each window once, and the health of one in which nothing moved', () => {
  let written = '';
  const printer = new LinePrinter('rate', (text) => {
    written += text;
  });
  printer.print({ ...NOTHING, lastWindow: null }, '0 agents');
  for (const health of ['1 agent', 'again']) printer.print(NOTHING, health);
  printer.print({ ...NOTHING, lastWindow: 5 }, '2 agents');
  assert.equal(written, '1 agent\n2 agents\n');
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
