// An agent that costs more than it may, on the real kernel.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { load } from '../../bpf/addon/index.ts';
import { Lab, waitFor } from '../../bpf/programs/testing/lab.ts';
import { AgentCore } from '../../host/agent/agent-core.ts';
import { CostWatch } from '../../host/agent/cost-watch.ts';
import { KernelSource } from '../../host/agent/kernel-source.ts';
import { SHED_STEPS } from '../../host/agent/overload.ts';
import { nameProcess } from '../../host/agent/processes.ts';
import { LedgerModel } from '../../host/agent/testing/ledger-model.ts';
import { loadModule } from '../../host/agent/testing/modules.ts';
import { tallyKey } from '../../host/agent/testing/socket-model.ts';
import { startClock } from '../../host/lib/clock.ts';
import { createLog } from '../../host/telemetry/log.ts';
import { ShedStep, TallyKind } from '../../host/wire/gen/wire-layout.ts';

const CONTEXT = { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 };

const lab = new Lab();
after(() => lab.close());

test('above its limit an agent leaves one thing after the other out and says so, and keeps every byte', async () => {
  const host = lab.host('o');
  const peer = host.peer();
  const options = {
    module: loadModule('agent.wasm'),
    hashSeed: [1n, 2n] as const,
    windowNs: 1_000_000_000n,
    addressSpace: 'default',
    boot: 'boot',
  };
  const core = new AgentCore(options, { nameProcess });
  const source = new KernelSource(load({ scopeNetns: host.netns }), core);
  const offered = new Set(source.start().flatMap(({ hook, attached }) => (attached ? [hook] : [])));
  const attached = (): string[] => source.stats().hooks.flatMap((hook) => (hook.attached ? [hook.hook] : []));
  const lines: { level: number; shed?: string[] }[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  const log = createLog('agent', { format: 'json', destination });
  // Less than any process takes.
  const shedSeconds = new Map<number, number>();
  const countShed = (step: number, seconds: number): void => {
    shedSeconds.set(step, (shedSeconds.get(step) ?? 0) + seconds);
    core.tallyHost(TallyKind.Shed, step, seconds);
  };
  const watch = new CostWatch(source, { limit: 1e-9, log, clock: startClock(), countShed, periodMs: 200 });
  const ledger = new LedgerModel();
  try {
    watch.start();
    const port = await peer.listen({ host: '127.0.0.1' });
    const client = await peer.connect({ host: '127.0.0.1', port });
    const server = await peer.accept();
    let bytes = 0n;
    const seen: string[] = [];
    while (watch.shed.length < SHED_STEPS.length) {
      await peer.send(client, 1000);
      await peer.receive(server, 1000);
      bytes += 1000n;
      source.drain();
      if (watch.shed.length > seen.length) seen.push(watch.shed.at(-1) ?? '');
    }
    assert.deepEqual(
      seen,
      SHED_STEPS.map(({ name }) => name),
    );
    assert.ok(watch.cost.programs > 0, 'the programs ran, and their time was measured');
    const left = SHED_STEPS.flatMap(({ hooks }): string[] => [...hooks]);
    assert.deepEqual(attached().toSorted(), [...offered].filter((hook) => !left.includes(hook)).toSorted());
    assert.deepEqual(
      lines.map(({ level, shed }) => [level, shed?.length]),
      [
        [40, 1],
        [40, 2],
        [40, 3],
      ],
    );

    await waitFor('a whole second without DNS', () => (shedSeconds.get(ShedStep.Dns) ?? 0) > 0);
    watch.stop();

    await peer.send(client, 500);
    await peer.receive(server, 500);
    await peer.close(client);
    await peer.close(server);
    await waitFor('both ends to close', () => {
      source.readTotals();
      source.drain();
      return core.counters.socketsLive === 0n;
    });
    ledger.receive(core.encodeWindow(1, CONTEXT));
    ledger.commit(1);
    assert.equal(ledger.exported.bytesSent, bytes + 500n);
    assert.equal(ledger.exported.bytesReceived, bytes + 500n);
    for (const [step, seconds] of shedSeconds)
      assert.equal(ledger.exported.tallies.get(tallyKey(TallyKind.Shed, step))?.count, BigInt(seconds));

    source.shed([]);
    assert.deepEqual(new Set(attached()), offered);
  } finally {
    watch.stop();
    source.stop();
    peer.process.kill();
  }
});

test('what is not observed anyway is not left out', async () => {
  const options = { module: loadModule('agent.wasm'), hashSeed: [1n, 2n] as const, windowNs: 1_000_000_000n };
  const core = new AgentCore({ ...options, addressSpace: 'default', boot: 'boot' }, { nameProcess });
  const source = new KernelSource(load({ scopeNetns: lab.host('n').netns, dns: false }), core);
  source.start();
  const log = createLog('agent', { format: 'json', destination: { write: () => {} } });
  const countShed = (): void => {};
  const watch = new CostWatch(source, { limit: 1e-9, log, clock: startClock(), countShed, periodMs: 100 });
  try {
    watch.start();
    await waitFor('something to be left out', () => watch.shed.length > 0);
    assert.equal(watch.shed[0], 'drops');
  } finally {
    watch.stop();
    source.stop();
  }
});

test('what cannot be left out is refused', () => {
  const collector = load();
  try {
    assert.throws(() => collector.shed(['tcp_state']), /without the hook 'tcp_state' there is nothing to collect/);
    assert.throws(() => collector.shed(['tcp_stat']), /there is no hook 'tcp_stat'/);
  } finally {
    collector.close();
  }
});
