// Runs in the guest: real sockets under the real collector. What is told is compared, on the host, with what was done here and with the
// guest's own /proc/net/snmp.
import { release } from 'node:os';
import type { CollectorOptions } from '../../bpf/addon/index.ts';
import { Observer } from '../../bpf/programs/testing/observer.ts';
import { observeAgent } from './agent-workload.ts';
import { ANSWER_PREFIX, type Answer } from './answer.ts';
import { observeDatagrams } from './datagram-workload.ts';
import { beginTcp } from './tcp-workload.ts';

async function observe(object: CollectorOptions['object']): Promise<Answer> {
  const answer: Answer = { kernel: release(), object: object ?? '', hooks: [], counts: [], losses: {} };
  try {
    const observeTcp = await beginTcp();
    const observer = new Observer({ object }, { mayLackHooks: true });
    answer.hooks = observer.hooks;
    answer.object = observer.collector.stats().object;
    const counts = [...(await observeTcp(observer)), ...(await observeDatagrams(observer))];
    const isAttached = (name: string): boolean => answer.hooks.some(({ hook, attached }) => hook === name && attached);
    answer.counts = counts.filter(({ hooks }) => hooks.every(isAttached));
    answer.losses = observer.collector.stats().eventsLost;
    observer.close();
    answer.counts.push(...(await observeAgent(object)));
  } catch (error) {
    answer.error = error instanceof Error ? error.stack : String(error);
  }
  return answer;
}

// By itself the collector takes the best object that loads here; where that is the first, the second is tried as well.
for (const object of [undefined, 'kprobe'] as const) {
  const answer = await observe(object);
  console.log(`${ANSWER_PREFIX}${JSON.stringify(answer)}`);
  if (answer.object !== 'btf') break;
}
process.exit(0);
