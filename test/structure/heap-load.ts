// Run by no-object-per-socket.test.ts with --expose-gc: opens, moves and closes sockets through the whole pipeline and prints, as JSON, the JavaScript
// heap and the flows of the reducer between the steps.
import { strict as assert } from 'node:assert';
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

const EVENTS_PER_BATCH = 4_096;

/** At one moment. */
export interface HeapReading {
  heapBytes: number;
  /** Of the reducer. */
  flows: number;
  /** Of the agents: two for each flow. */
  sockets: number;
}

const { SocketOpen, SocketTotals, SocketClose } = KernelEventType;

/** When every connection began; with the cookie its identity. */
const START_NS = 1_000_000_000n;

const { gc: collectGarbage } = globalThis;
assert(collectGarbage !== undefined, 'to be run with --expose-gc');

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
        ...{ type, role, timeNs: pipeline.timeNs, startTimeNs: START_NS, ownerPid: 100 + agent },
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
function measure(): HeapReading {
  pipeline.endWindow();
  pipeline.endWindow();
  for (let pass = 0; pass < 4; pass++) collectGarbage?.();
  const flows = pipeline.count(ReducerCounter.FlowsLive);
  return { heapBytes: process.memoryUsage().heapUsed, flows, sockets: pipeline.socketsLive };
}

const flowCount = Number(process.argv[2]);
let next = 0;
const open = (count: number): void => {
  tell(SocketOpen, next, next + count, 0);
  tell(SocketTotals, next, next + count, 1_000);
  tell(SocketTotals, next, next + count, 100_000);
  next += count;
};
// Code is compiled and tables of fixed size are made once.
open(flowCount / 5);
tell(SocketClose, 0, next, 200_000);
const first = next;
const readings = [measure()];
for (let step = 0; step < 2; step++) {
  open(flowCount);
  readings.push(measure());
}
tell(SocketClose, first, next, 200_000);
readings.push(measure());
console.log(JSON.stringify(readings));
