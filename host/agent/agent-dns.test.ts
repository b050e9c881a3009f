// Lookups as tallies: which message answers which, what times out, and of which socket it is counted.
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Payload } from '../wire/channel-sender.ts';
import { type DnsMessage, KernelEventType } from '../wire/gen/kernel-events-layout.ts';
import { FrameKind, TallyKind } from '../wire/gen/wire-layout.ts';
import { decodeAnnounce } from '../wire/gen/wire-tables.ts';
import { AgentCore } from './agent-core.ts';
import { itemsOf } from './testing/decode.ts';
import { type DnsOptions, encodeDnsEvent, encodeMessage } from './testing/dns-event.ts';
import { encodeEvents } from './testing/kernel-event.ts';
import { BUILDS, loadModule } from './testing/modules.ts';

const CONTEXT = { clockOffsetNs: 1_700_000_000_000_000_000n, agentTimeNs: 7n, eventsLost: 0n, blindMs: 0 };
const SECOND = 1_000_000_000n;
const NXDOMAIN = 3;
const AAAA = 28;

function createCore(build: (typeof BUILDS)[number], dnsNames = false): AgentCore {
  const options = {
    module: loadModule(build),
    hashSeed: [1n, 2n] as const,
    windowNs: 10n * SECOND,
    addressSpace: 'default',
    boot: 'boot',
    dnsNames,
  };
  return new AgentCore(options, { nameProcess: () => undefined });
}

function say(core: AgentCore, event: Partial<DnsMessage>, message: DnsOptions): void {
  core.events(encodeDnsEvent(event, encodeMessage(message)));
}

/** Opens the flow, as the reading of the totals does, and settles at `timeNs`. */
function settle(core: AgentCore, timeNs: bigint, ...cookies: bigint[]): void {
  for (const cookie of cookies) core.events(encodeEvents({ cookie, protocol: 17, type: KernelEventType.SocketOpen }));
  core.settle(timeNs);
}

/** Of DNS: a socket that closes tells its duration as well. */
function talliesOf(payloads: readonly Payload[]): object[] {
  return itemsOf(payloads, 'Tally')
    .filter(({ kind }) => kind !== TallyKind.Duration)
    .map(({ handle, kind, code, count, sum }) => ({ handle, kind, code, count, sum }));
}

/** By handle. */
function labelsOf(payloads: readonly Payload[]): Map<number, string> {
  const labels = payloads
    .filter(({ kind }) => kind === FrameKind.Announce)
    .flatMap(({ payload }) => decodeAnnounce(payload)?.labels ?? []);
  return new Map(labels.map(({ handle, text }) => [handle, text]));
}

for (const build of BUILDS) {
  test(`${build}: an answer is a lookup of the socket that asked, with its time, type and code`, () => {
    const core = createCore(build);
    say(core, { timeNs: 1_000n }, { recordType: AAAA });
    say(core, { timeNs: 51_000n, isSent: 0 }, { recordType: AAAA, isAnswer: true, responseCode: NXDOMAIN });
    settle(core, 60_000n, 1n);
    assert.deepEqual(talliesOf(core.encodeWindow(1, CONTEXT)), [
      { handle: 1, kind: TallyKind.DnsLookup, code: (AAAA << 16) | NXDOMAIN, count: 1n, sum: 50_000n },
    ]);
  });

  test(`${build}: who answers counts the time that the answer took`, () => {
    const core = createCore(build);
    settle(core, 0n, 1n);
    say(core, { timeNs: 1_000n, isSent: 0, localPort: 53, remotePort: 40_000 }, {});
    say(core, { timeNs: 9_000n, isSent: 1, localPort: 53, remotePort: 40_000 }, { isAnswer: true });
    assert.deepEqual(talliesOf(core.encodeWindow(1, CONTEXT)), [
      { handle: 1, kind: TallyKind.DnsLookup, code: 1 << 16, count: 1n, sum: 8_000n },
    ]);
  });

  test(`${build}: an answer belongs to its own query only`, () => {
    const core = createCore(build);
    say(core, { timeNs: 1_000n }, { id: 7 });
    const others: [Partial<DnsMessage>, DnsOptions][] = [
      [{ cookie: 2n }, { id: 7 }],
      [{}, { id: 8 }],
      [{}, { id: 7, recordType: AAAA }],
      [{}, { id: 7, name: 'example.org' }],
      [{ isSent: 1 }, { id: 7 }],
    ];
    for (const [event, message] of others) say(core, { isSent: 0, ...event }, { ...message, isAnswer: true });
    assert.equal(core.counters.dnsUnasked, BigInt(others.length));
    assert.equal(core.counters.dnsQueries, 1n);
    say(core, { timeNs: 5_000n, isSent: 0 }, { id: 7, isAnswer: true });
    say(core, { timeNs: 6_000n, isSent: 0 }, { id: 7, isAnswer: true });
    assert.deepEqual([core.counters.dnsUnasked, core.counters.dnsQueries], [BigInt(others.length + 1), 0n]);
  });

  test(`${build}: a query without an answer times out after five seconds, and a later answer is none`, () => {
    const core = createCore(build);
    settle(core, 0n, 1n);
    say(core, { timeNs: SECOND }, { id: 1 });
    say(core, { timeNs: 2n * SECOND }, { id: 1 });
    say(core, { timeNs: 5n * SECOND }, { id: 2 });
    core.settle(6n * SECOND);
    assert.equal(core.counters.dnsQueries, 2n, 'a repeated query is the same one');
    core.settle(6n * SECOND + 1n);
    assert.equal(core.counters.dnsQueries, 1n);
    say(core, { timeNs: 10n * SECOND + 1n, isSent: 0 }, { id: 2, isAnswer: true });
    assert.deepEqual(talliesOf(core.encodeWindow(1, CONTEXT)), [
      { handle: 1, kind: TallyKind.DnsTimeout, code: 1 << 16, count: 2n, sum: 0n },
    ]);
  });

  test(`${build}: when messages were lost, no query that waits is a timeout`, () => {
    const core = createCore(build);
    settle(core, 0n, 1n);
    say(core, { timeNs: SECOND }, { id: 1 });
    core.settle(9n * SECOND, false);
    say(core, { timeNs: 9n * SECOND }, { id: 2 });
    core.settle(20n * SECOND);
    assert.deepEqual(talliesOf(core.encodeWindow(1, CONTEXT)), [
      { handle: 1, kind: TallyKind.DnsTimeout, code: 1 << 16, count: 1n, sum: 0n },
    ]);
    assert.deepEqual([core.counters.dnsQueries, core.counters.dnsQueriesRefused], [0n, 1n]);
  });

  test(`${build}: a query whose socket is closed timed out at once`, () => {
    const core = createCore(build);
    settle(core, 0n, 1n);
    core.encodeWindow(1, CONTEXT);
    say(core, { timeNs: SECOND }, {});
    core.events(encodeEvents({ cookie: 1n, protocol: 17, type: KernelEventType.SocketClose, closeReason: 1 }));
    core.settle(SECOND + 1n);
    assert.deepEqual(talliesOf(core.encodeWindow(2, CONTEXT)), [
      { handle: 1, kind: TallyKind.DnsTimeout, code: 1 << 16, count: 1n, sum: 0n },
    ]);
  });

  test(`${build}: a truncated answer is a lookup and is counted as truncated`, () => {
    const core = createCore(build);
    settle(core, 0n, 1n);
    say(core, { timeNs: 1n }, {});
    say(core, { timeNs: 2n, isSent: 0 }, { isAnswer: true, isTruncated: true });
    assert.deepEqual(
      itemsOf(core.encodeWindow(1, CONTEXT), 'Tally').map(({ kind, count }) => [kind, count]),
      [
        [TallyKind.DnsLookup, 1n],
        [TallyKind.DnsTruncated, 1n],
      ],
    );
  });

  test(`${build}: a lookup of a flow that begins while the totals are read counts for it, by its name`, () => {
    const core = createCore(build, true);
    say(core, { timeNs: 4n }, { name: 'early.example.org' });
    say(core, { timeNs: 6n, isSent: 0 }, { name: 'early.example.org', isAnswer: true });
    core.settle(3n);
    const payloads: Payload[] = [];
    // Longer than a label lasts that nothing refers to.
    for (let window = 1; window < 10; window++) payloads.push(...core.encodeWindow(window, CONTEXT));
    assert.deepEqual(talliesOf(payloads), []);
    say(core, { timeNs: 8n, cookie: 2n }, { name: 'later.example.org' });
    say(core, { timeNs: 9n, cookie: 2n, isSent: 0 }, { name: 'later.example.org', isAnswer: true });
    settle(core, 10n, 1n);
    payloads.push(...core.encodeWindow(10, CONTEXT));
    settle(core, 20n, 2n);
    payloads.push(...core.encodeWindow(11, CONTEXT));
    assert.deepEqual(talliesOf(payloads), [
      { handle: 1, kind: TallyKind.DnsLookup, code: 1 << 16, count: 1n, sum: 2n },
      { handle: 2, kind: TallyKind.DnsLookup, code: 1 << 16, count: 1n, sum: 1n },
    ]);
    assert.deepEqual(
      itemsOf(payloads, 'Tally').map(({ label }) => labelsOf(payloads).get(label)),
      ['early.example.org', 'later.example.org'],
    );
  });

  test(`${build}: a lookup of a socket whose end was told counts for the host at once`, () => {
    const core = createCore(build);
    settle(core, 0n, 1n);
    core.events(encodeEvents({ cookie: 1n, protocol: 17, type: KernelEventType.SocketClose, closeReason: 1 }));
    core.encodeWindow(1, CONTEXT);
    say(core, { timeNs: 1n }, {});
    say(core, { timeNs: 2n, isSent: 0 }, { isAnswer: true });
    assert.deepEqual(talliesOf(core.encodeWindow(2, CONTEXT)), [
      { handle: 0, kind: TallyKind.DnsLookup, code: 1 << 16, count: 1n, sum: 1n },
    ]);
  });

  test(`${build}: lookups without a socket count for the host`, () => {
    const core = createCore(build);
    say(core, { timeNs: 1n, cookie: 9n }, {});
    say(core, { timeNs: 2n, cookie: 9n, isSent: 0 }, { isAnswer: true });
    core.settle(3n);
    assert.deepEqual(
      talliesOf(core.encodeWindow(1, CONTEXT)),
      [],
      'its flow may have begun while the totals were read',
    );
    core.settle(4n);
    assert.deepEqual(talliesOf(core.encodeWindow(2, CONTEXT)), [
      { handle: 0, kind: TallyKind.DnsLookup, code: 1 << 16, count: 1n, sum: 1n },
    ]);
  });

  test(`${build}: names are told when they are asked for, in lower case`, () => {
    for (const dnsNames of [false, true]) {
      const core = createCore(build, dnsNames);
      settle(core, 0n, 1n);
      say(core, { timeNs: 1n }, { name: 'WWW.Example.org' });
      say(
        core,
        { timeNs: 2n, isSent: 0 },
        { name: 'www.example.ORG', isAnswer: true, isTruncated: true, restBytes: 4000 },
      );
      say(core, { timeNs: 3n }, { name: 'silence.example.org' });
      core.settle(6n * SECOND);
      const payloads = core.encodeWindow(1, CONTEXT);
      const texts = labelsOf(payloads);
      const told = itemsOf(payloads, 'Tally').map(({ kind, label }) => [kind, texts.get(label)]);
      const [name, silence] = dnsNames ? ['www.example.org', 'silence.example.org'] : [undefined, undefined];
      assert.deepEqual(told, [
        [TallyKind.DnsLookup, name],
        [TallyKind.DnsTruncated, name],
        [TallyKind.DnsTimeout, silence],
      ]);
    }
  });

  test(`${build}: what is no DNS message is counted`, () => {
    const core = createCore(build);
    core.events(encodeDnsEvent({}, new Uint8Array(40).fill(0xff)));
    assert.deepEqual([core.counters.dnsMessages, core.counters.dnsMalformed], [1n, 1n]);
    core.events(encodeDnsEvent({ copiedBytes: 60 }, encodeMessage({})));
    assert.equal(core.counters.eventsMalformed, 1n, 'more than the record holds');
  });
}
