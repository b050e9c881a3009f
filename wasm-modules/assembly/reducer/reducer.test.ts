import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason, Role } from '../../../host/wire/gen/kernel-events-layout.ts';
import { Level, ReducerCounter, RefusalReason } from '../../../host/wire/gen/records-layout.ts';
import { hello } from '../../../host/wire/testing/hello.ts';
import {
  announceFrame,
  close,
  closeFrame,
  ipv4,
  narrowFrame,
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
import { mergeOutputs, type Point } from '../../testing/window-output.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const K = 1000;

function edges(outputs: Uint8Array[]): Point[] {
  return mergeOutputs(outputs).filter(({ level }) => level === Level.IdId);
}

function announcement(name: string): Uint8Array {
  return announceFrame({
    addressSpaces: [{ handle: SPACE, name: 'default' }],
    processes: [process(1, { unit: name })],
  });
}

test('the module imports nothing', () => {
  assert.deepEqual(WebAssembly.Module.imports(MODULE), []);
});

test('two ends of a connection are one flow, booked once', () => {
  const fleet = new ReducerFleet(MODULE, { openWindow: K });
  const client = fleet.open(0, hello({ session: 1n, nodeId: 1n, nodeName: 'a' }));
  const server = fleet.open(0, hello({ session: 2n, nodeId: 2n, nodeName: 'b' }));
  const key = 77n;
  fleet.tell(
    client,
    Buffer.concat([
      announcement('curl'),
      openFrame([open({ handle: 1, joinKey: key, cookie: 5n })]),
      wideFrame([
        { handle: 1, totals: totals({ bytesSent: 1000n, bytesReceived: 300n, segmentsSent: 3n, srttUs: 90 }) },
      ]),
      windowEnd(K),
    ]),
  );
  fleet.tell(
    server,
    Buffer.concat([
      announcement('nginx'),
      openFrame([
        open({
          handle: 9,
          joinKey: key,
          cookie: 6n,
          role: Role.Server,
          localAddress: ipv4(10, 0, 0, 2),
          remoteAddress: ipv4(10, 0, 0, 1),
          localPort: 8080,
          remotePort: 40000,
        }),
      ]),
      wideFrame([{ handle: 9, totals: totals({ bytesSent: 310n, bytesReceived: 1000n, segmentsSent: 2n }) }]),
      windowEnd(K),
    ]),
  );
  assert.equal(fleet.offer(client, windowEnd(K + 1)), 0, 'a session that has told the open window is held');
  const [edge, ...others] = edges(fleet.close(K));
  assert.deepEqual(others, []);
  assert.equal(`${edge.client.id} ${edge.server.id}`, 'a/curl b/nginx');
  assert.equal(edge.serverPort, 8080);
  const field = (name: string) => edge.fields.get(name);
  assert.deepEqual(
    [
      'forwardBytes',
      'reverseBytes',
      'forwardPackets',
      'reversePackets',
      'connections',
      'active',
      'flowsBoth',
      'rttMaxUs',
    ].map(field),
    [1000n, 310n, 3n, 2n, 1n, 1n, 1n, 90n],
  );
  fleet.tell(
    client,
    Buffer.concat([
      narrowFrame([narrow(1, 24)]),
      closeFrame([close(1, totals({ bytesSent: 1024n, bytesReceived: 310n, segmentsSent: 4n }))]),
      windowEnd(K + 1),
    ]),
  );
  fleet.tell(
    server,
    Buffer.concat([
      closeFrame([close(9, totals({ bytesSent: 310n, bytesReceived: 1020n, segmentsSent: 2n }))]),
      windowEnd(K + 1),
    ]),
  );
  const [closed] = edges(fleet.close(K + 1));
  assert.deepEqual(
    ['forwardBytes', 'reverseBytes', 'active', 'closed', 'residualBytes', 'judgedBytes'].map((name) =>
      closed.fields.get(name),
    ),
    [24n, 0n, 0n, 1n, 4n, 1334n],
  );
  assert.deepEqual(edges(fleet.close(K + 2)), []);
  assert.equal(fleet.counter(ReducerCounter.FramesGiven), fleet.counter(ReducerCounter.FramesAccepted));
  assert.equal(fleet.refusals(RefusalReason.TotalsFell), 0);
  assert.equal(CloseReason.Closed, 1);
});

test('frames that are read between the slices of a roll-up belong to the next window, however many there are', () => {
  const outputsOf = (budget: number, isBetween: boolean): { outputs: Uint8Array[]; slices: number } => {
    const fleet = new ReducerFleet(MODULE, { openWindow: K });
    const client = fleet.open(0, hello({ session: 1n, nodeId: 1n, nodeName: 'a' }));
    const sockets = Array.from({ length: 20 }, (_, at) =>
      open({ handle: at + 1, joinKey: BigInt(at + 1), cookie: BigInt(at + 1) }),
    );
    const told = (bytesSent: bigint) =>
      wideFrame(sockets.map(({ handle }) => ({ handle, totals: totals({ bytesSent, srttUs: 90 }) })));
    fleet.tell(client, Buffer.concat([announcement('curl'), openFrame(sockets), told(100n), windowEnd(K)]));
    const next = [
      announceFrame({ processes: [process(2, { unit: 'wget' })] }),
      openFrame([open({ handle: 50, process: 2, joinKey: 99n, cookie: 99n })]),
      told(1000n),
      closeFrame(sockets.map(({ handle }) => close(handle, totals({ bytesSent: 1000n })))),
      windowEnd(K + 1),
    ];
    const waiting = isBetween ? [...next] : [];
    let slices = 0;
    const first = fleet.close(K, budget, undefined, () => {
      slices++;
      const frame = waiting.shift();
      if (frame !== undefined) fleet.tell(client, frame);
    });
    assert.equal(waiting.length, 0, 'not everything was told in between');
    if (!isBetween) for (const frame of next) fleet.tell(client, frame);
    return { outputs: [...first, ...fleet.close(K + 1, budget)], slices };
  };
  const whole = outputsOf(1_000_000, false);
  const sliced = outputsOf(1, true);
  assert.equal(whole.slices, 0);
  assert(sliced.slices > 20, `${sliced.slices} slices`);
  assert.deepEqual(sliced.outputs, whole.outputs);
  const moved = edges(whole.outputs.slice(1)).reduce((sum, { fields }) => sum + (fields.get('forwardBytes') ?? 0n), 0n);
  assert.equal(moved, 20n * 900n);
});

function narrow(handle: number, bytesSent: number) {
  return { handle, bytesSent, bytesReceived: 0, srttUs: 0, segmentsSent: 0, segmentsReceived: 0, retransmits: 0 };
}
