import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hello } from '../wire/testing/hello.ts';
import { listListeners } from './listeners.ts';

const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const comm = (name: string) => Uint8Array.from(Buffer.from(name.padEnd(16, '\0')));
const V4 = bytes('00000000 00000000 0000ffff 0a000001');
const ANY = bytes('00000000 00000000 00000000 00000000');
const V6 = bytes('fd000000 00000000 00000000 00000001');
const at = { netns: 7, pid: 42, comm: comm('nginx') };

test('open ports stand by node and scope, as each agent tells them', () => {
  const sessions = [
    {
      hello: hello({ nodeName: 'web-2' }),
      ...{ isConnected: true, toldWindow: 1, listenersOmitted: 3 },
      listeners: [
        { address: V4, port: 80, ipVersion: 4, ...at },
        { address: V6, port: 443, ipVersion: 6, ...at },
      ],
    },
    {
      hello: hello({ nodeName: 'web-1', scope: 'netns:7' }),
      ...{ isConnected: false, toldWindow: 1, listenersOmitted: 4 },
      listeners: [{ address: ANY, port: 22, ipVersion: 6, netns: 7, pid: 0, comm: comm('') }],
    },
    { hello: hello({ nodeName: 'web-3' }), isConnected: true, toldWindow: 0, listeners: [], listenersOmitted: 0 },
  ];
  const nginx = { scope: '', netns: 7, pid: 42, process: 'nginx' };
  const { listeners, omitted } = listListeners(sessions);
  assert.equal(omitted, 7);
  assert.deepEqual(listeners, [
    { node: 'web-1', scope: 'netns:7', address: '::', port: 22, netns: 7, pid: 0, process: '' },
    { node: 'web-2', address: '10.0.0.1', port: 80, ...nginx },
    { node: 'web-2', address: 'fd00::1', port: 443, ...nginx },
  ]);
});
