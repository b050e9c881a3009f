import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloseReason } from '../../../host/wire/gen/kernel-events-layout.ts';
import { Level, ReducerCounter, RefusalReason, SessionFlag } from '../../../host/wire/gen/records-layout.ts';
import { FindingStatus, FrameKind, LossKind } from '../../../host/wire/gen/wire-layout.ts';
import { encodeHello, type Hello } from '../../../host/wire/gen/wire-tables.ts';
import { hello } from '../../../host/wire/testing/hello.ts';
import {
  announceFrame,
  baselineFrame,
  close,
  closeFrame,
  fold,
  foldFrame,
  ipv4,
  lossFrame,
  narrowFrame,
  once,
  onceFrame,
  open,
  openFrame,
  process,
  SPACE,
  settled,
  settledFrame,
  snapshotMark,
  totals,
  wideFrame,
  windowEnd,
} from '../../testing/agent-frames.ts';
import { compileModule } from '../../testing/compile-module.ts';
import { ReducerFleet } from '../../testing/reducer-fleet.ts';
import { clientEnd, FIRST_WINDOW, TwoHosts } from '../../testing/two-hosts.ts';
import { mergeOutputs } from '../../testing/window-output.ts';

const MODULE = compileModule('reducer/index.ts', 'release');
const K = FIRST_WINDOW;
const EDGE = 'host-1/curl > 10.0.0.2 :80';
/** 100 GB/s for ten seconds. */
const WINDOW_TOTAL = 1_000_000_000_000n;

const wide = (handle: number, bytesSent: bigint) => wideFrame([{ handle, totals: totals({ bytesSent }) }]);
/** What socket 1 has told before each lie. */
const BEFORE = { bytesSent: 100n, bytesReceived: 100n, segmentsSent: 100n, segmentsReceived: 100n, retransmits: 100n };
const after = (values: Partial<typeof BEFORE>) => wideFrame([{ handle: 1, totals: totals({ ...BEFORE, ...values }) }]);
const narrow = (handle: number) =>
  narrowFrame([
    { handle, bytesSent: 1, bytesReceived: 0, srttUs: 0, segmentsSent: 0, segmentsReceived: 0, retransmits: 0 },
  ]);
const kindOf = (frame: Uint8Array, kind: number): Uint8Array => {
  const changed = Uint8Array.from(frame);
  new DataView(changed.buffer).setUint16(4, kind, true);
  return changed;
};
/** Each frame comes after: socket 1 open with totals BEFORE, window K - 1 told. */
const REFUSED: [string, Uint8Array, number][] = [
  ['an update of a socket that was not opened', narrow(2), RefusalReason.UnknownHandle],
  ['an update of handle 0', narrow(0), RefusalReason.UnknownHandle],
  ['an open of a taken handle', openFrame([clientEnd({ handle: 1, cookie: 99n })]), RefusalReason.HandleTaken],
  [
    'two opens of one handle',
    openFrame([clientEnd({ handle: 3 }), clientEnd({ handle: 3 })]),
    RefusalReason.HandleTaken,
  ],
  ['a process that was not announced', openFrame([clientEnd({ handle: 3, process: 7 })]), RefusalReason.UnknownProcess],
  [
    'an address space that was not announced',
    openFrame([clientEnd({ handle: 3, addressSpace: 7 })]),
    RefusalReason.UnknownAddressSpace,
  ],
  ['a role that does not exist', openFrame([clientEnd({ handle: 3, role: 3 })]), RefusalReason.EnumValue],
  ['a protocol that is not followed', openFrame([clientEnd({ handle: 3, protocol: 1 })]), RefusalReason.EnumValue],
  ...Object.keys(BEFORE).map((field): [string, Uint8Array, number] => [
    `${field} that falls`,
    after({ [field]: 99n }),
    RefusalReason.TotalsFell,
  ]),
  ['totals beyond link speed', after({ segmentsReceived: 4n * WINDOW_TOTAL }), RefusalReason.TotalsRate],
  ['a last total that falls', closeFrame([close(1, totals())]), RefusalReason.TotalsFell],
  [
    'a close for a reason that only the reducer has',
    closeFrame([close(1, totals({ bytesSent: 100n }), CloseReason.AgentLost)]),
    RefusalReason.EnumValue,
  ],
  [
    'a short life beyond link speed',
    onceFrame([once({ open: clientEnd(), totals: totals({ bytesReceived: 9n * WINDOW_TOTAL }) })]),
    RefusalReason.TotalsRate,
  ],
  ['a short life with a handle', onceFrame([once({ open: clientEnd({ handle: 9 }) })]), RefusalReason.UnknownHandle],
  [
    'a baseline of a socket that is not new',
    baselineFrame([{ handle: 1, kind: 1, totals: totals() }]),
    RefusalReason.UpdateRepeated,
  ],
  [
    'one socket twice in a batch',
    wideFrame([1, 1].map((handle) => ({ handle, totals: totals(BEFORE) }))),
    RefusalReason.UpdateRepeated,
  ],
  ['a window that was told', windowEnd(K - 1), RefusalReason.WindowOrder],
  ['a window that begins after its end', windowEnd(K, K + 1), RefusalReason.WindowOrder],
  ['a window far ahead', windowEnd(K + 65), RefusalReason.WindowAhead],
  ['a settled socket without a join key', settledFrame([settled()]), RefusalReason.UnknownHandle],
  ['a fold of fewer sockets than connections', foldFrame([fold({ connections: 2 })]), RefusalReason.Counts],
  ['a fold of fewer sockets than closes', foldFrame([fold({ closed: 2 })]), RefusalReason.Counts],
  ['a fold of fewer closes than openings', foldFrame([fold({ openings: 2 })]), RefusalReason.Counts],
  [
    'a fold that adds more than its sockets ever told',
    foldFrame([fold({ totals: totals({ bytesSent: 2n }), last: totals({ bytesSent: 1n }) })]),
    RefusalReason.TotalsFell,
  ],
  ['a process handle beyond the quota', announceFrame({ processes: [process(262_144)] }), RefusalReason.ProcessQuota],
  ['the end of an unknown process', announceFrame({ endedProcesses: [5] }), RefusalReason.UnknownProcess],
  [
    'an address space beyond the quota',
    announceFrame({ addressSpaces: [{ handle: 4096, name: 'x' }] }),
    RefusalReason.AddressSpaceQuota,
  ],
  ['a batch of another kind', kindOf(wide(1, 200n), FrameKind.Close), RefusalReason.Structure],
  ['a kind that only the reducer sends', kindOf(wide(1, 200n), FrameKind.Welcome), RefusalReason.KindDirection],
];

test('a frame that lies is refused whole with its reason, and changes nothing', async (t) => {
  for (const [what, frame, reason] of REFUSED) {
    await t.test(what, () => {
      const hosts = new TwoHosts(MODULE);
      const agent = hosts.agent(1, 'curl', { firstWindow: K - 1 });
      hosts.say(agent, openFrame([clientEnd({ handle: 1, joinKey: 8n })]), after({}), windowEnd(K - 1));
      const accepted = hosts.fleet.counter(ReducerCounter.FramesAccepted);
      hosts.say(agent, frame);
      assert.equal(hosts.fleet.state(agent).lastRefusal, reason);
      assert.equal(hosts.fleet.refusals(reason), 1);
      assert.equal(hosts.fleet.counter(ReducerCounter.FramesRefused), 1);
      assert.equal(hosts.fleet.counter(ReducerCounter.FramesAccepted), accepted);
      hosts.say(agent, after({ bytesSent: 150n }));
      const edge = hosts.close()[EDGE];
      assert.deepEqual([edge.forwardBytes, edge.connections, edge.active], [150, 1, 1]);
    });
  }
});

test('a kind that nobody knows is skipped and counted, and what follows is read', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'curl');
  hosts.say(agent, openFrame([clientEnd({ handle: 1, joinKey: 8n })]));
  const accepted = hosts.fleet.counter(ReducerCounter.FramesAccepted);
  const strange = 60_000;
  hosts.say(agent, kindOf(wide(1, 70n), strange), kindOf(wide(1, 80n), FrameKind.Dns), wide(1, 90n));
  assert.equal(hosts.fleet.counter(ReducerCounter.FramesSkipped), 2);
  assert.equal(hosts.fleet.counter(ReducerCounter.FramesAccepted), accepted + 3);
  assert.equal(hosts.fleet.counter(ReducerCounter.FramesRefused), 0);
  assert.equal(hosts.close()[EDGE].forwardBytes, 90);
});

test('a batch with one bad item leaves the good ones undone', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'curl');
  hosts.say(agent, openFrame([clientEnd({ handle: 1, joinKey: 8n })]));
  hosts.say(
    agent,
    wideFrame([
      { handle: 1, totals: totals({ bytesSent: 5n }) },
      { handle: 2, totals: totals() },
    ]),
  );
  hosts.say(agent, openFrame([clientEnd({ handle: 4 }), clientEnd({ handle: 5, process: 9 })]));
  const edge = hosts.close()[EDGE];
  assert.deepEqual([edge.forwardBytes, edge.active, edge.connections], [undefined, 1, 1]);
});

test('a socket beyond the quota is refused alone, and its reports are ignored', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'curl');
  const beyond = 1 << 20;
  hosts.say(agent, openFrame([clientEnd({ handle: 1, joinKey: 8n }), clientEnd({ handle: beyond, joinKey: 9n })]));
  hosts.say(agent, wide(beyond, 7n), wide(1, 3n), closeFrame([close(beyond, totals({ bytesSent: 7n }))]));
  const edge = hosts.close()[EDGE];
  assert.deepEqual([edge.forwardBytes, edge.connections], [3, 1]);
  assert.equal(hosts.fleet.refusals(RefusalReason.SocketQuota), 1);
  assert.equal(hosts.fleet.counter(ReducerCounter.SocketReportsIgnored), 2);
  assert.equal(hosts.fleet.counter(ReducerCounter.FramesRefused), 0);
});

test('a handle that was closed may name another socket at once, and no row between is lost', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'curl');
  const opened = [1, 2, 3].map((handle) => clientEnd({ handle, joinKey: BigInt(handle), cookie: BigInt(handle) }));
  hosts.say(agent, openFrame(opened), windowEnd(K - 1));
  hosts.say(agent, wide(1, 1n), wide(2, 20n), wide(3, 300n));
  hosts.say(agent, closeFrame([close(2, totals({ bytesSent: 21n }))]));
  hosts.say(agent, openFrame([clientEnd({ handle: 2, joinKey: 4n, cookie: 4n })]), wide(2, 4000n));
  const edge = hosts.close()[EDGE];
  assert.deepEqual([edge.forwardBytes, edge.connections, edge.closed, edge.active], [4322, 4, 1, 3]);
});

test('a session is quarantined after 1 000 refused frames and takes nothing any more', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'curl');
  hosts.say(agent, openFrame([clientEnd({ handle: 1, joinKey: 8n })]));
  for (let frame = 0; frame < 1000; frame++) hosts.say(agent, narrow(2));
  assert.equal(hosts.fleet.state(agent).flags & SessionFlag.Quarantined, 0);
  hosts.say(agent, narrow(2));
  assert.notEqual(hosts.fleet.state(agent).flags & SessionFlag.Quarantined, 0);
  assert.equal(hosts.fleet.offer(agent, narrow(1)), 0);
  hosts.detach(agent, CloseReason.AgentLost);
  hosts.close();
  assert.equal(hosts.fleet.counter(ReducerCounter.SocketsLive), 0);
  assert.equal(hosts.fleet.counter(ReducerCounter.SessionsQuarantined), 1);
});

test('what was told without a WindowEnd is not in the window that closes, and whole in the next', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'curl');
  const { fleet } = hosts;
  fleet.tell(agent, openFrame([clientEnd({ handle: 1, joinKey: 8n })]));
  fleet.tell(
    agent,
    onceFrame([once({ open: clientEnd({ cookie: 2n, joinKey: 9n }), totals: totals({ bytesSent: 4n }) })]),
  );
  fleet.tell(agent, wide(1, 6n));
  fleet.close(K);
  assert.equal(fleet.counter(ReducerCounter.RecordsToMatch), 0);
  assert.equal(fleet.state(agent).reachedWindow, 0);
  fleet.tell(agent, windowEnd(K + 1, K));
  assert.equal(fleet.state(agent).reachedWindow, K + 1);
  hosts.window = K + 1;
  hosts.end = () => undefined;
  fleet.close(K + 1);
  assert.equal(fleet.counter(ReducerCounter.EdgeFlows), 2);
});

test('what agents lost counts as it rises, once each, whatever a total does and whoever told it', () => {
  const hosts = new TwoHosts(MODULE);
  const { fleet } = hosts;
  const [one, other] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const lost = (kind: number) => fleet.counter(ReducerCounter.AgentLost + kind);
  const tell = (agent: typeof one, kind: number, count: bigint) => fleet.tell(agent, lossFrame([{ kind, count }]));
  for (const count of [5n, 8n, 8n, 3n, 9n]) tell(one, LossKind.Drops, count);
  tell(other, LossKind.Drops, 20n);
  tell(other, LossKind.DnsQueries, 1n);
  assert.deepEqual([lost(LossKind.Drops), lost(LossKind.DnsQueries), lost(LossKind.Tallies)], [29, 1, 0]);
  const { framesAccepted } = fleet.state(one);
  fleet.tell(
    one,
    lossFrame([
      { kind: 999, count: 7n },
      { kind: LossKind.Listeners, count: 7n },
      { kind: LossKind.Labels, count: 2n },
    ]),
  );
  assert.equal(fleet.state(one).framesAccepted, framesAccepted + 1n, 'a kind of a later version is passed over');
  assert.deepEqual([lost(LossKind.Labels), lost(LossKind.Listeners)], [2, 0]);
  tell(one, LossKind.None, 1n);
  assert.equal(fleet.state(one).lastRefusal, RefusalReason.EnumValue);
});

test('a session that has told the open window waits; one that is late goes on', () => {
  const hosts = new TwoHosts(MODULE);
  const [early, late] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  const { fleet } = hosts;
  assert.equal(fleet.offer(early, Buffer.concat([windowEnd(K), windowEnd(K + 1)])), windowEnd(K).length);
  assert.equal(fleet.state(early).flags, SessionFlag.Held);
  fleet.tell(late, Buffer.concat([windowEnd(K - 3), windowEnd(K - 2), windowEnd(K - 1)]));
  fleet.close(K);
  fleet.tell(early, windowEnd(K + 1));
  assert.equal(fleet.state(early).reachedWindow, K + 1);
});

test('between the seal of a window and its close in match nobody is read, not even who is late', () => {
  const hosts = new TwoHosts(MODULE);
  const late = hosts.agent(1, 'curl');
  const { fleet } = hosts;
  fleet.call(0, 'ingest_seal', K);
  assert.equal(fleet.offer(late, windowEnd(K - 1)), 0);
  while (fleet.call(0, 'match_close', 10) !== 0);
  assert.equal(fleet.offer(late, windowEnd(K - 1)), windowEnd(K - 1).length);
});

test('a window that is being shipped when it is sealed is shipped whole, however full the outbox', () => {
  const fleet = new ReducerFleet(MODULE, { openWindow: K, workers: 2 });
  const agent = fleet.open(0, hello());
  const spaces = announceFrame({ addressSpaces: [{ handle: 1, name: 'default' }], processes: [process(1)] });
  fleet.tell(agent, spaces);
  for (let first = 1; first < 20_000; first += 5000) {
    const keys = Array.from({ length: 5000 }, (_, index) => BigInt(first + index));
    fleet.tell(agent, onceFrame(keys.map((joinKey) => once({ open: clientEnd({ joinKey }) }))));
  }
  const end = windowEnd(K);
  const inbox = fleet.call(0, 'frame_inbox', end.length);
  fleet.bytes(0, inbox, end.length).set(end);
  fleet.call(0, 'session_frames', agent.slot, inbox, end.length);
  assert.equal(fleet.state(agent).flags, SessionFlag.More);
  assert.equal(fleet.state(agent).reachedWindow, 0);
  const edges = mergeOutputs(fleet.close(K, 1000)).filter(({ level }) => level === Level.IdId);
  assert.equal(fleet.state(agent).reachedWindow, K);
  assert.deepEqual(
    edges.map(({ fields }) => fields.get('connections')),
    [20_000n],
  );
});

test('a snapshot on a known session replaces its sockets without a gap in active', () => {
  const hosts = new TwoHosts(MODULE);
  const agent = hosts.agent(1, 'curl');
  hosts.say(
    agent,
    openFrame([clientEnd({ handle: 1, joinKey: 8n }), clientEnd({ handle: 2, joinKey: 9n, cookie: 2n })]),
    wide(1, 100n),
  );
  assert.equal(hosts.close()[EDGE].active, 2);
  const again = hosts.fleet.open(0, hello({ session: 1n, nodeId: 1n, bootId: 1n, nodeName: 'host-1' }));
  assert.deepEqual(again, agent, 'it keeps its slot');
  const spaces = announceFrame({
    addressSpaces: [{ handle: 1, name: 'default' }],
    processes: [process(1, { unit: 'curl' })],
  });
  hosts.say(agent, snapshotMark(FrameKind.SnapshotBegin, K), spaces);
  hosts.say(
    agent,
    openFrame([open({ ...clientEnd({ handle: 1, joinKey: 8n }) })]),
    wide(1, 130n),
    snapshotMark(FrameKind.SnapshotEnd, K),
  );
  assert.notEqual(hosts.fleet.state(agent).flags & SessionFlag.SnapshotDone, 0);
  const edge = hosts.close()[EDGE];
  assert.deepEqual([edge.active, edge.forwardBytes, edge.connections, edge.closed], [1, 30, undefined, undefined]);
});

test('a Hello is refused when it is none, has no window length, or facts beyond measure', () => {
  const { fleet } = new TwoHosts(MODULE);
  assert.equal(fleet.tryOpen(0, new Uint8Array(64)), -RefusalReason.HelloStructure);
  assert.equal(fleet.tryOpen(0, encodeHello(hello({ windowNs: 0n }))), -RefusalReason.WindowLength);
  const finding = { id: 'btf', status: FindingStatus.Unseen, text: 'none' };
  const hook = { name: 'totals', backend: '', error: 'no' };
  const lies: Partial<Hello>[] = [
    { findings: [{ ...finding, status: FindingStatus.Unseen + 1 }] },
    { findings: new Array(65).fill(finding) },
    { hooks: new Array(65).fill(hook) },
  ];
  for (const lie of lies)
    assert.equal(fleet.tryOpen(0, encodeHello(hello(lie))), -RefusalReason.HelloStructure, Object.keys(lie)[0]);
  const facts = { findings: new Array(64).fill(finding), hooks: new Array(64).fill(hook) };
  assert.ok(fleet.tryOpen(0, encodeHello(hello(facts))) >= 0);
});

test('rows that have closed since they moved count for a slice of shipping, too', (context) => {
  const world = new TwoHosts(MODULE);
  const agent = world.agent(1, 'curl');
  const count = 20_000;
  for (let first = 1; first <= count; first += 1_000) {
    const handles = Array.from({ length: 1_000 }, (_, index) => first + index);
    world.say(
      agent,
      openFrame(handles.map((handle) => clientEnd({ handle, cookie: BigInt(handle), joinKey: BigInt(handle) }))),
    );
    world.say(agent, closeFrame(handles.map((handle) => close(handle, totals({})))));
  }
  const { mock } = context.mock.method(world.fleet, 'call');
  world.end(agent);
  const slices = mock.calls.filter(({ arguments: [, name] }) => name === 'session_frames').length;
  // wasm-modules/assembly/ingest/ship.ts, SHIPPED_PER_CALL: an open and a close for each row, and the row itself.
  assert.equal(slices, Math.ceil((3 * count) / 8_192));
  assert.equal(world.fleet.state(agent).reachedWindow, K);
});

test('agents that have announced themselves and tell nothing take some kilobytes each', () => {
  const hosts = new TwoHosts(MODULE);
  const before = hosts.fleet.memoryBytes(0);
  for (let host = 1; host <= 1000; host++) {
    const hostAddresses = [{ address: ipv4(10, 1, host >> 8, host & 255), addressSpace: SPACE }];
    hosts.say(hosts.agent(host, `unit-${host}`), announceFrame({ hostAddresses }));
  }
  hosts.close();
  assert.ok(hosts.fleet.memoryBytes(0) - before <= 16 * 2 ** 20, String(hosts.fleet.memoryBytes(0) - before));
});
