// With which window a session begins, as Hello tells it.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Instant } from '../lib/clock.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { AgentCore } from './agent-core.ts';
import { AgentSession } from './agent-session.ts';
import { itemsOf } from './testing/decode.ts';
import { encodeDnsEvent, encodeMessage } from './testing/dns-event.ts';
import { loadModule } from './testing/modules.ts';

const WINDOW_NS = 1_000_000_000n;
/** `windows`: since a moment at which window 1 700 000 000 begins. */
const at = (windows: number): Instant => ({
  ms: windows * 1000,
  unixNs: 1_700_000_000_000_000_000n + BigInt(windows * 1000) * 1_000_000n,
});
const windowAt = (windows: number): number => 1_700_000_000 + windows;

function begin(now: Instant, collect = (_core: AgentCore): void => {}): AgentSession {
  const options = {
    module: loadModule('agent.wasm'),
    hashSeed: [1n, 2n] as const,
    limits: {},
    windowNs: WINDOW_NS,
    addressSpace: 'default',
    boot: 'boot',
  };
  const core = new AgentCore(options, { nameProcess: () => undefined });
  const session = new AgentSession(
    { monotonicToUnixNs: 0n, blindMs: 0 },
    { core, collect: () => collect(core), eventsLost: () => 0n },
  );
  session.begin(now);
  return session;
}

test('until the first window is told a session begins with the one in which it began to look, whoever comes and goes', () => {
  const session = begin(at(3.5));
  assert.equal(session.firstWindow(at(3.9)), windowAt(3));
  session.snapshot(1n, at(4.2));
  // That reducer died before the window ended: the next one has to wait for what moved since.
  assert.equal(session.firstWindow(at(9.1)), windowAt(3));
  session.snapshot(2n, at(9.2));
  const [{ window, fromWindow }] = itemsOf(session.tell(at(9.3)), 'WindowEnd');
  assert.deepEqual([window, fromWindow], [windowAt(8), windowAt(3)]);
  assert.equal(session.firstWindow(at(9.4)), windowAt(9));
});

test('the last window tells what waits for a socket that no reading of the totals finds any more', () => {
  let isAsked = false;
  const session = begin(at(3.5), (core) => {
    if (!isAsked) {
      core.events(encodeDnsEvent({ timeNs: 1n, cookie: 9n }, encodeMessage({})));
      core.events(encodeDnsEvent({ timeNs: 2n, cookie: 9n, isSent: 0 }, encodeMessage({ isAnswer: true })));
    }
    isAsked = true;
    core.settle(3n);
  });
  const [{ handle, kind, count }] = itemsOf(session.tellLast(at(4.5)), 'Tally');
  assert.deepEqual([handle, kind, count], [0, TallyKind.DnsLookup, 1n]);
});
