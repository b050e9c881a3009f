import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Payload } from '../wire/channel-sender.ts';
import { FrameKind, type Listener } from '../wire/gen/wire-layout.ts';
import { decodeListeners } from '../wire/listeners.ts';
import { Announcements } from './announcements.ts';

const NOBODY = { processes: [], labels: [] };
const listener = (port: number): Listener => ({
  ...{ address: new Uint8Array(16), port, ipVersion: 6, netns: 1, pid: 1, comm: new Uint8Array(16) },
});
/** The ports of each Listener frame. */
const portsOf = (payloads: readonly Payload[]) =>
  payloads
    .filter(({ kind }) => kind === FrameKind.Listener)
    .map(({ payload }) => decodeListeners(payload)?.map(({ port }) => port));

test('listeners are told when they are others than before, and whole to a channel that knows nothing', () => {
  const announcements = new Announcements({ addressSpace: 'default', boot: 'boot' });
  announcements.setListeners([]);
  assert.deepEqual(portsOf(announcements.encodeAll(NOBODY)), [], 'a host without any has nothing to take back');
  announcements.setListeners([listener(443), listener(80)]);
  assert.deepEqual(portsOf(announcements.encodeNews(NOBODY)), [[80, 443]]);
  announcements.setListeners([listener(80), listener(443)]);
  assert.deepEqual(portsOf(announcements.encodeNews(NOBODY)), [], 'the same, in another order');
  assert.deepEqual(portsOf(announcements.encodeAll(NOBODY)), [[80, 443]]);
  announcements.setListeners([]);
  assert.deepEqual(portsOf(announcements.encodeNews(NOBODY)), [[]]);
  assert.deepEqual(portsOf(announcements.encodeAll(NOBODY)), [[]], 'the channel before may have told of some');
});
