import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReducerCounter } from '../../../host/wire/gen/records-layout.ts';
import { hello } from '../../../host/wire/testing/hello.ts';
import {
  announceFrame,
  close,
  closeFrame,
  ipv4,
  once,
  onceFrame,
  open,
  openFrame,
  process,
  SPACE,
  totals,
  wideFrame,
  windowEnd,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { ReducerFleet } from '../../testing/reducer-fleet.ts';

const FIRST_WINDOW = 9000;
/** An address that is not IPv4 has a row of its own. */
const REMOTE = Buffer.from('20010db8000000000000000000000001', 'hex');
const SOCKETS_PER_WINDOW = 1000;
const LIFE_WINDOWS = 4;
const WORKERS = 2;
/** After these every table has the size that the churn needs. */
const WARM_WINDOWS = 20;

test('sockets come and go, memory stands still, and nothing is left when all have closed', () => {
  const fleet = new ReducerFleet(compileModule('reducer/index.ts', 'release'), {
    openWindow: FIRST_WINDOW,
    workers: WORKERS,
  });
  const agents = [0, 1].map((side) => {
    const identity = { session: BigInt(side + 1), nodeId: BigInt(side + 1), nodeName: `host-${side}` };
    const ref = fleet.open(side, hello(identity));
    const addressSpaces = [{ handle: SPACE, name: 'default' }];
    fleet.tell(ref, announceFrame({ addressSpaces, processes: [process(1, { unit: `unit-${side}` })] }));
    return { side, ref };
  });
  const memory = () => fleet.counter(ReducerCounter.MemoryBytes);
  const live: { localAddress: Uint8Array; handle: number; key: bigint }[][] = [];
  let warmMemory = 0;
  let nextKey = 1n;
  for (let window = FIRST_WINDOW; window < FIRST_WINDOW + 3 * WARM_WINDOWS; window++) {
    const isEnding = window >= FIRST_WINDOW + 2 * WARM_WINDOWS;
    const begun = Array.from({ length: isEnding ? 0 : SOCKETS_PER_WINDOW }, (_, index) => ({
      localAddress: ipv4(10, window % 256, index >> 8, index & 255),
      handle: (window % (LIFE_WINDOWS + 1)) * SOCKETS_PER_WINDOW + index + 1,
      key: (nextKey++ * 0x9e3779b97f4a7c15n) % 2n ** 64n,
    }));
    live.push(begun);
    const ended = live.length > LIFE_WINDOWS ? (live.shift() ?? []) : [];
    for (const { side, ref } of agents) {
      const ports = {
        role: side + 1,
        remoteAddress: REMOTE,
        localPort: side === 0 ? 40000 : 80,
        remotePort: side === 0 ? 80 : 40000,
      };
      const last = totals({ bytesSent: 7n });
      const short = begun
        .slice(0, 200)
        .map(({ localAddress, key }) => ({
          ...ports,
          localAddress,
          joinKey: ~key & 0xffffffffn,
          cookie: ~key & 0xffffffffn,
        }))
        .map((short) => once({ open: open(short) }));
      fleet.tell(ref, closeFrame(ended.map(({ handle }) => close(handle, last))));
      fleet.tell(ref, openFrame(begun.map(({ key, ...own }) => open({ ...ports, ...own, joinKey: key, cookie: key }))));
      fleet.tell(ref, wideFrame(begun.map(({ handle }) => ({ handle, totals: totals({ bytesSent: 5n }) }))));
      fleet.tell(ref, onceFrame(short));
      fleet.tell(ref, windowEnd(window));
    }
    fleet.close(window, 4096);
    for (let worker = 0; worker < WORKERS; worker++) fleet.call(worker, 'match_committed', window);
    if (window === FIRST_WINDOW + WARM_WINDOWS) warmMemory = memory();
  }
  // What the sockets of a window take is more; a shard that has more flows than ever doubles its slots.
  assert(memory() - warmMemory < 1 << 20, `${memory()} bytes after ${warmMemory}`);
  const left = [
    ReducerCounter.SocketsLive,
    ReducerCounter.FlowsLive,
    ReducerCounter.EndsLive,
    ReducerCounter.FramesRefused,
  ];
  fleet.close(FIRST_WINDOW + 3 * WARM_WINDOWS);
  assert.deepEqual(
    left.map((counter) => fleet.counter(counter)),
    [0, 0, 0, 0],
  );
});
