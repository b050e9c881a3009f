// Packets that arrive while a process changes the state of its own socket: the kernel skips the program that it interrupted.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { KernelEventType, type SocketEvent } from '../../host/wire/gen/kernel-events-layout.ts';
import type { CollectorStats } from '../addon/index.ts';
import { Lab } from './testing/lab.ts';
import { Observer } from './testing/observer.ts';

const CONNECTIONS = 1_000;
/** Changes that the second program follows. */
const RESCUED = 10;
/** Tens of times what is needed on an idle machine. */
const ROUNDS_MAX = 150;
/** Not every kernel hides changes from both programs. */
const UNSEEN_ROUNDS = 20;
const OPENINGS: number[] = [KernelEventType.SocketOpen, KernelEventType.SocketAdopted];
const STORM = join(import.meta.dirname, 'testing', 'storm.ts');
const lab = new Lab();
after(() => lab.close());

const skipsOf = ({ hooks }: CollectorStats, name: string): number =>
  hooks.find(({ hook }) => hook === name)?.skips ?? 0;

test('a change of state for which the first program was skipped is followed by the second, and one that none saw is told when the socket is used or freed', async (t) => {
  if (availableParallelism() < 2) return t.skip('one processor does not interrupt the other');
  const host = lab.host('s');
  // Spread over two processors, packets come by interrupts, not only at the end of a system call.
  host.run('sh', '-c', 'echo 3 > /sys/class/net/lo/queues/rx-0/rps_cpus');
  host.sysctl('net.ipv4.tcp_max_tw_buckets', 1_000);
  const observer = new Observer({ scopeNetns: host.netns });
  try {
    const storm = () =>
      promisify(execFile)('ip', ['netns', 'exec', host.name, process.execPath, STORM, String(CONNECTIONS)]);
    let rounds = 0;
    const opened: SocketEvent[] = [];
    const closed = new Set<bigint>();
    const isShown = (stats: CollectorStats) =>
      stats.changesRescued >= RESCUED && (stats.endsRescued > 0 || rounds >= UNSEEN_ROUNDS);
    while (!isShown(observer.collector.stats())) {
      rounds += 1;
      assert.ok(rounds <= ROUNDS_MAX, 'the second program has followed too few changes');
      await Promise.all([storm(), storm()]);
      const events = observer.drain();
      opened.push(...events.filter(({ type }) => OPENINGS.includes(type)));
      for (const { type, cookie } of events) if (type === KernelEventType.SocketClose) closed.add(cookie);
      events.length = 0;
    }
    const stats = observer.collector.stats();
    const skips = skipsOf(stats, 'tcp_state');
    t.diagnostic(`${rounds} rounds: ${skips} skipped, ${stats.changesRescued} followed, ${stats.changesMissed} missed`);
    t.diagnostic(
      `${stats.openingsRescued} openings told at the first use, ${stats.endsRescued} ends as the socket was freed`,
    );
    assert.equal(opened.length, rounds * 2 * CONNECTIONS * 2, 'both ends of each connection of both storms');
    assert.equal(new Set(opened.map(({ cookie }) => cookie)).size, opened.length, 'each once');
    assert.deepEqual(
      new Set(opened.map(({ type }) => type)),
      new Set([KernelEventType.SocketOpen]),
      'none as an older one',
    );
    // Where the kernel hides changes, what closes and is freed in one interrupt is left to the census.
    const unseen = opened.filter(({ cookie }) => !closed.has(cookie)).length;
    // 25 of 4 000 beside two agents and a thousand connections a second of other hosts; without the hook at the freeing it would be twice as many.
    const unseenMax = stats.endsRescued > 0 ? opened.length / 100 : 0;
    assert.ok(unseen <= unseenMax, `${unseen} of ${opened.length} ends were not told`);
    assert.ok(stats.changesRescued <= skips, 'the second program follows what the first did not see, and nothing else');
  } finally {
    observer.close();
  }
});
