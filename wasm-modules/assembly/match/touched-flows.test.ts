import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFrame, totals, wideFrame } from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { clientEnd, serverEnd, TwoHosts } from '../../testing/two-hosts.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const EDGE = 'host-1/curl > host-2/nginx :80';
const JOIN_KEY_STEP = 0x9e37_79b9_7f4a_7c15n;
const ITEMS_PER_FRAME = 1000;

test('what both ends of many connections tell is booked once in each window, however many told something in the window before', () => {
  const hosts = new TwoHosts(MODULE);
  const agents = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const connections = 20_000;
  const keys = Array.from({ length: connections }, (_, index) => BigInt.asUintN(64, BigInt(index + 1) * JOIN_KEY_STEP));
  for (let at = 0; at < connections; at += ITEMS_PER_FRAME) {
    for (const [agent, end] of [clientEnd, serverEnd].entries()) {
      const items = keys.slice(at, at + ITEMS_PER_FRAME).map((joinKey, index) => {
        return end({ handle: at + index + 1, joinKey, cookie: joinKey });
      });
      hosts.say(agents[agent], openFrame(items));
    }
  }
  assert.equal(hosts.close()[EDGE].connections, connections);
  const sent = new Array<bigint>(connections).fill(0n);
  // More and fewer than fit into a page of numbers, of neighbours and of flows apart.
  for (const [first, step] of [
    [0, 1],
    [0, 3],
    [5_000, 1],
    [1, 7],
    [0, 1],
  ]) {
    const moved = sent.map((_, index) => index).filter((index) => index >= first && (index - first) % step === 0);
    for (const index of moved) sent[index] += BigInt(index % 5) + 1n;
    for (let at = 0; at < moved.length; at += ITEMS_PER_FRAME) {
      const frame = (total: 'bytesSent' | 'bytesReceived') =>
        wideFrame(
          moved
            .slice(at, at + ITEMS_PER_FRAME)
            .map((index) => ({ handle: index + 1, totals: totals({ [total]: sent[index] }) })),
        );
      hosts.say(agents[0], frame('bytesSent'));
      hosts.say(agents[1], frame('bytesReceived'));
    }
    const bytes = moved.reduce((sum, index) => sum + (index % 5) + 1, 0);
    const edge = hosts.close()[EDGE];
    assert.deepEqual([edge.forwardBytes, edge.connections ?? 0], [bytes, 0], `every ${step} from ${first}`);
  }
});
