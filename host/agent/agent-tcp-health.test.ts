// From the kernel's running totals of a socket's health to tallies.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import {
  CloseReason,
  ConnectionPhase,
  KernelEventType,
  RetransmitKind,
  type SocketEvent,
} from '../wire/gen/kernel-events-layout.ts';
import { TallyKind } from '../wire/gen/wire-layout.ts';
import { AgentCore } from './agent-core.ts';
import { itemsOf } from './testing/decode.ts';
import { encodeEvents } from './testing/kernel-event.ts';
import { BUILDS, loadModule } from './testing/modules.ts';

const { SocketTotals, SocketClose, ConnectFailed, SocketAdopted } = KernelEventType;
const CONTEXT = { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };
const UNNAMED = { executable: '/bin/program', unit: '', containerId: '', containerRuntime: '', cgroup: '/' };
const ALL = {
  retransmitsFast: 1,
  retransmitsTimeout: 2,
  retransmitsSyn: 3,
  retransmitsProbe: 4,
  outOfOrder: 5,
  zeroWindows: 6,
};

for (const build of BUILDS) {
  const createCore = () => {
    const options = {
      module: loadModule(build),
      hashSeed: [1n, 2n] as const,
      limits: {},
      windowNs: 10_000_000_000n,
      addressSpace: 'default',
      boot: 'boot',
    };
    const core = new AgentCore(options, { nameProcess: () => UNNAMED });
    core.begin(1);
    return core;
  };
  let window = 1;
  const tell = (core: AgentCore, ...events: Partial<SocketEvent>[]) => {
    core.events(encodeEvents(...events));
    window += 1;
    return core.encodeWindow(window, CONTEXT);
  };
  /** `kind code` → count. */
  const tallied = (payloads: ReturnType<AgentCore['encodeWindow']>) =>
    Object.fromEntries(itemsOf(payloads, 'Tally').map(({ kind, code, count }) => [`${kind} ${code}`, Number(count)]));

  test(`${build}: what moved since the last event is tallied, by its kind`, () => {
    const core = createCore();
    assert.deepEqual(tallied(tell(core, ALL)), {
      [`${TallyKind.Retransmit} ${RetransmitKind.Fast}`]: 1,
      [`${TallyKind.Retransmit} ${RetransmitKind.Timeout}`]: 2,
      [`${TallyKind.Retransmit} ${RetransmitKind.Syn}`]: 3,
      [`${TallyKind.Retransmit} ${RetransmitKind.TailLossProbe}`]: 4,
      [`${TallyKind.OutOfOrder} 0`]: 5,
      [`${TallyKind.ZeroWindow} 0`]: 6,
    });
    const later = { type: SocketTotals, timeNs: 3_000n, ...ALL, retransmitsFast: 11 };
    assert.deepEqual(tallied(tell(core, later)), { [`${TallyKind.Retransmit} ${RetransmitKind.Fast}`]: 10 });
    assert.deepEqual(tallied(tell(core, later)), {}, 'nothing moved');
    assert.deepEqual(tallied(tell(core, { ...later, retransmitsFast: 7 })), {}, 'an event from behind');
    const close = { ...later, type: SocketClose, closeReason: CloseReason.Closed, retransmitsFast: 12 };
    const { [`${TallyKind.Duration} ${CloseReason.Closed}`]: _, ...rest } = tallied(tell(core, close));
    assert.deepEqual(rest, { [`${TallyKind.Retransmit} ${RetransmitKind.Fast}`]: 1 });
  });

  test(`${build}: a counter that wraps goes on`, () => {
    const core = createCore();
    tell(core, { outOfOrder: 0x7fff_ffff });
    tell(core, { type: SocketTotals, outOfOrder: 0xffff_fff0 });
    assert.deepEqual(tallied(tell(core, { type: SocketTotals, outOfOrder: 4 })), { [`${TallyKind.OutOfOrder} 0`]: 20 });
  });

  test(`${build}: of a socket that is older than the look, what was counted before is history`, () => {
    const core = createCore();
    assert.deepEqual(tallied(tell(core, { type: SocketAdopted, startTimeNs: 0n, ...ALL })), {});
    const later = { type: SocketTotals, startTimeNs: 0n, ...ALL, outOfOrder: 8 };
    assert.deepEqual(tallied(tell(core, later)), { [`${TallyKind.OutOfOrder} 0`]: 3 });
  });

  test(`${build}: a Once says how long the handshake took, and in which phase it was reset`, () => {
    const core = createCore();
    const reset = { closeReason: CloseReason.ResetReceived, phase: ConnectionPhase.Transfer };
    const [once] = itemsOf(tell(core, { handshakeUs: 42 }, { type: SocketClose, ...reset }), 'Once');
    assert.deepEqual([once.handshakeUs, once.reason, once.phase], [42, reset.closeReason, reset.phase]);
  });

  test(`${build}: a connect that failed is a Once, with its SYNs and the phase of a reset`, () => {
    const core = createCore();
    const failure = {
      type: ConnectFailed,
      closeReason: CloseReason.ConnectRefused,
      error: 111,
      retransmits: 2,
      retransmitsSyn: 2,
      phase: ConnectionPhase.Establish,
    };
    const payloads = tell(core, failure);
    assert.deepEqual(tallied(payloads), {});
    const [once] = itemsOf(payloads, 'Once');
    assert.deepEqual([once.phase, once.error, once.totals.retransmits], [ConnectionPhase.Establish, 111, 2n]);
  });

  test(`${build}: the RTT variation of a connection that lasts is sampled each minute and at its end`, () => {
    const core = createCore();
    const samples = (timeNs: bigint, event: Partial<SocketEvent> = {}) =>
      itemsOf(tell(core, { type: SocketTotals, timeNs, rttVariationUs: 40, ...event }), 'Tally')
        .filter(({ kind }) => kind === TallyKind.RttVariation)
        .map(({ count, sum }) => [count, sum]);
    assert.deepEqual(samples(10_000_000_000n, { type: KernelEventType.SocketOpen }), []);
    assert.deepEqual(samples(69_000_000_000n), []);
    assert.deepEqual(samples(71_000_000_000n), [[1n, 40_000n]]);
    assert.deepEqual(samples(72_000_000_000n), []);
    assert.deepEqual(samples(73_000_000_000n, { type: SocketClose, rttVariationUs: 7 }), [[1n, 7_000n]]);
  });

  test(`${build}: a Close says in which phase it was reset`, () => {
    const core = createCore();
    tell(core, {});
    const reset = { closeReason: CloseReason.ResetSent, phase: ConnectionPhase.Close };
    const [close] = itemsOf(tell(core, { type: SocketClose, ...reset }), 'Close');
    assert.deepEqual([close.reason, close.phase], [reset.closeReason, reset.phase]);
  });
}
