// The state of sockets and flows lies in WebAssembly. Were there one object, map entry or closure for each in TypeScript, the JavaScript heap
// would grow by tens of bytes for each of the sockets here; it grows by less than BYTES_PER_SOCKET_MAX. Linear memory is not part of that heap.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { encodeEvents } from '../../host/agent/testing/kernel-event.ts';
import { loadModule } from '../../host/agent/testing/modules.ts';
import { buildWasm } from '../../host/launch/build-wasm.ts';
import { compileReducer } from '../../host/reducer/reducer-module.ts';
import {
  CloseReason,
  KernelEventType,
  Role,
  SOCKET_EVENT_OFFSET,
  SOCKET_EVENT_SIZE,
} from '../../host/wire/gen/kernel-events-layout.ts';
import { ReducerCounter } from '../../host/wire/gen/records-layout.ts';
import { Pipeline } from './pipeline.ts';

const FLOWS = 50_000;
/** The two ends of each flow. */
const SOCKETS = 2 * FLOWS;
const BYTES_PER_SOCKET_MAX = 2;
const EVENTS_PER_BATCH = 4_096;

const { SocketOpen, SocketTotals, SocketClose } = KernelEventType;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

await buildWasm(['reducer'], ['release']);
const pipeline = new Pipeline({
  ...{ agent: loadModule('agent.wasm'), reducer: await compileReducer(), agents: 2, workers: 2 },
});

/** Both hosts' kernels tell `type` of the flows from `first` to `end`, and the window ends. `moved`: bytes from client to server since the opening. */
function tell(type: KernelEventType, first: number, end: number, moved: number): void {
  for (const [agent, role] of [Role.Client, Role.Server].entries()) {
    const isClient = role === Role.Client;
    const bytes = encodeEvents(
      ...Array.from({ length: EVENTS_PER_BATCH }, () => ({
        ...{ type, role, timeNs: pipeline.timeNs, startTimeNs: pipeline.timeNs, ownerPid: 100 + agent },
        closeReason: type === SocketClose ? CloseReason.Closed : CloseReason.None,
        ...(isClient ? { bytesSent: BigInt(moved) } : { bytesReceived: BigInt(moved) }),
        ...(isClient ? { remotePort: 80 } : { localPort: 80 }),
      })),
    );
    const view = new DataView(bytes.buffer);
    for (let flow = first; flow < end; ) {
      let byteCount = 0;
      for (; byteCount < bytes.length && flow < end; byteCount += SOCKET_EVENT_SIZE, flow++) {
        view.setBigUint64(byteCount + SOCKET_EVENT_OFFSET.cookie, BigInt(flow + 1), true);
        view.setBigUint64(byteCount + SOCKET_EVENT_OFFSET.joinKey, BigInt(flow + 1) * 0x9e37_79b9n, true);
        const port = isClient ? SOCKET_EVENT_OFFSET.localPort : SOCKET_EVENT_OFFSET.remotePort;
        view.setUint16(byteCount + port, 1_024 + (flow % 60_000), true);
      }
      pipeline.events(agent, bytes.subarray(0, byteCount));
    }
  }
  pipeline.endWindow();
}

/** Two windows later nothing of what was told is on its way any more. */
function measure(): { heapBytes: number; flows: number } {
  pipeline.endWindow();
  pipeline.endWindow();
  for (let pass = 0; pass < 4; pass++) collectGarbage();
  const flows = pipeline.count(ReducerCounter.FlowsLive);
  return { heapBytes: process.memoryUsage().heapUsed, flows };
}

test(`the JavaScript heap grows by less than ${BYTES_PER_SOCKET_MAX} bytes for each socket that is open, moves and closes`, (t) => {
  let next = 0;
  const open = (count: number): void => {
    tell(SocketOpen, next, next + count, 0);
    tell(SocketTotals, next, next + count, 1_000);
    tell(SocketTotals, next, next + count, 100_000);
    next += count;
  };
  // Code is compiled and tables of fixed size are made once.
  open(FLOWS / 5);
  tell(SocketClose, 0, next, 200_000);
  const first = next;
  const before = measure();

  open(FLOWS);
  const live = measure();
  assert.equal(pipeline.socketsLive, SOCKETS);
  open(FLOWS);
  const liveTwice = measure();
  assert.equal(pipeline.socketsLive, 2 * SOCKETS);
  tell(SocketClose, first, next, 200_000);
  const after = measure();
  assert.equal(pipeline.socketsLive, 0);
  assert.deepEqual(
    [before, live, liveTwice, after].map(({ flows }) => flows),
    [0, FLOWS, 2 * FLOWS, 0],
    'flows of the reducer',
  );

  const perLive = (liveTwice.heapBytes - live.heapBytes) / SOCKETS;
  const perClosed = (after.heapBytes - before.heapBytes) / (2 * SOCKETS);
  t.diagnostic(`bytes of heap per live socket ${perLive.toFixed(3)}, per closed socket ${perClosed.toFixed(3)}`);
  assert.ok(perLive < BYTES_PER_SOCKET_MAX, `${perLive} bytes for each live socket`);
  assert.ok(perClosed < BYTES_PER_SOCKET_MAX, `${perClosed} bytes for each closed socket`);
});
