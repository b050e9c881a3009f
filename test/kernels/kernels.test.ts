// The collector on other kernels than this machine's: each boots in an emulated machine, and what the collector tells there of a known
// workload is compared with the workload itself and with that kernel's own counters. Prints which backend served which hook.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import type { Answer } from './answer.ts';
import type { Architecture } from './debian-packages.ts';
import { bootGuest, packGuest } from './guest.ts';
import { fetchKernel, type Kernel } from './kernel-images.ts';
import { type Machine, OWN_ARCHITECTURE, prepareArm64, prepareOwnMachine } from './machines.ts';
import { formatTable } from './table.ts';

interface TestedKernel extends Kernel {
  /**
   * The objects that load, the best first, and the hooks that each is known to lack here. A hook that is missed and not named is one that
   * this kernel's verifier refuses, and one that is named and served has become better: either is to be looked at.
   */
  lacking: Record<string, string[]>;
  /** Left out of the short form. */
  isLong?: boolean;
}

/** Oldest first. Before 5.10 no kernel of Debian describes its types (BTF), so none can be observed. */
const KERNELS: TestedKernel[] = [
  {
    name: '5.10',
    release: 'bullseye',
    architecture: 'amd64',
    lacking: { kprobe: ['drop', 'datagram_owners'] },
  },
  { name: '6.1', release: 'bookworm', architecture: 'amd64', lacking: { btf: [], kprobe: [] } },
  { name: '6.12', release: 'trixie', architecture: 'amd64', lacking: { btf: [], kprobe: [] } },
  {
    name: '6.1',
    release: 'bookworm',
    architecture: 'arm64',
    // fentry came to arm64 with 6.4, and the tracepoints with 6.3.
    lacking: { btf: ['socket_send', 'socket_receive'], kprobe: [] },
  },
  { name: '6.12', release: 'trixie', architecture: 'arm64', lacking: { btf: [], kprobe: [] }, isLong: true },
];

const folder = mkdtempSync(join(tmpdir(), 'kernels-'));
const answers: Answer[] = [];
const guests = new Map<Architecture, Promise<{ machine: Machine; initialDisk: string }>>();

after(() => {
  rmSync(folder, { recursive: true });
  if (answers.length > 0) console.log(`\n${formatTable(answers)}\n`);
});

async function prepareGuest(architecture: Architecture): Promise<{ machine: Machine; initialDisk: string }> {
  const machine = architecture === OWN_ARCHITECTURE ? prepareOwnMachine() : await prepareArm64();
  const initialDisk = join(folder, architecture);
  await packGuest(machine, initialDisk);
  return { machine, initialDisk };
}

/** Once per processor. */
function findGuest(architecture: Architecture): Promise<{ machine: Machine; initialDisk: string }> {
  const known = guests.get(architecture) ?? prepareGuest(architecture);
  guests.set(architecture, known);
  return known;
}

function check(answer: Answer, { name, lacking }: TestedKernel): void {
  const title = `${answer.kernel}, ${answer.object}`;
  assert.equal(answer.error, undefined, title);
  assert.ok(answer.kernel.startsWith(`${name}.`), title);
  const missed = answer.hooks.filter(({ attached }) => !attached);
  const reasons = missed.map(({ hook, error }) => `${hook}: ${error}`).join('\n');
  assert.deepEqual(
    missed.map(({ hook }) => hook),
    lacking[answer.object],
    `${title}\n${reasons}`,
  );
  for (const { name: what, told, expected } of answer.counts) assert.equal(told, expected, `${title}: ${what}`);
  for (const [type, count] of Object.entries(answer.losses)) assert.equal(count, 0, `${title}: lost ${type}`);
}

async function observe(kernel: TestedKernel, t: TestContext): Promise<void> {
  if (kernel.isLong && process.env.CI) return t.skip('not in the short form: npm run test:kernels');
  if (kernel.architecture === 'amd64' && OWN_ARCHITECTURE !== 'amd64')
    return t.skip('nothing is compiled for amd64 on another processor');
  const fetched = await fetchKernel(kernel);
  if (fetched.skip !== undefined) return t.skip(fetched.skip);
  const guest = await findGuest(kernel.architecture);
  const given = (await bootGuest({ ...guest, image: fetched.image })).map((line): Answer => JSON.parse(line));
  answers.push(...given);
  for (const answer of given) check(answer, kernel);
  assert.deepEqual(
    given.map(({ object }) => object),
    Object.keys(kernel.lacking),
  );
}

for (const kernel of KERNELS)
  test(`Linux ${kernel.name} of ${kernel.architecture}: what was done is told, through every hook that it has`, (t) =>
    observe(kernel, t));
