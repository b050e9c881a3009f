// The rules of match-rules.ts are needed: switched off, each makes the noted seed differ from the naive ledger.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentCore } from '../../host/agent/agent-core.ts';
import { itemsOf } from '../../host/agent/testing/decode.ts';
import { encodeEvents, ipv4 } from '../../host/agent/testing/kernel-event.ts';
import { Role } from '../../host/wire/gen/kernel-events-layout.ts';
import { announceFrame, openFrame, SPACE, settledFrame, totals } from '../../wasm-modules/testing/agent-frames.ts';
import { checkAgainstNaive } from '../../wasm-modules/testing/fleet-replay.ts';
import { clientEnd, serverEnd, TwoHosts } from '../../wasm-modules/testing/two-hosts.ts';
import { compileEdited } from './edited-sources.ts';
import { CLAIM_RULES, MATCH_RULES, SPACE_RULES } from './match-rules.ts';
import { printRuleTable, readRuleTable } from './rule-table.ts';
import type { Edit } from './rules.ts';

const WITH_ALL_RULES = await compileEdited('reducer', []);

/** What the module says where the naive ledger says something else; undefined when they agree. */
function differenceOf(module: WebAssembly.Module, seed: number): string | undefined {
  try {
    checkAgainstNaive(module, seed);
    return undefined;
  } catch (error) {
    if (!(error instanceof assert.AssertionError)) throw error;
    const [said, expected] = [error.actual, error.expected].map((line) => String(line).split(' '));
    const only = (words: string[], others: string[]): string =>
      words.filter((word) => !others.includes(word)).join(' ') || 'nothing';
    return `${error.message.split('\n')[0]}: ${only(said, expected)} instead of ${only(expected, said)}`;
  }
}

test('each rule of the ledger that is switched off makes a seed fail', async (context) => {
  const unneeded: string[] = [];
  for (const { section, rule, seed, edit } of MATCH_RULES) {
    const difference = differenceOf(await compileEdited('reducer', [edit]), seed);
    context.diagnostic(`${section} ${rule}: ${difference ?? `SEED=${seed} passes`}`);
    if (difference === undefined) unneeded.push(rule);
  }
  assert.deepEqual(unneeded, [], 'their seeds pass without these');
});

test('the noted seeds pass with all rules', () => {
  for (const seed of new Set(MATCH_RULES.map((rule) => rule.seed)))
    assert.equal(differenceOf(WITH_ALL_RULES, seed), undefined);
});

/** Two sockets of one tuple on two hosts, each in a space of its own: the edges that come of them. */
function edgesOfTwoSpaces(module: WebAssembly.Module): string[] {
  const hosts = new TwoHosts(module);
  const [client, server] = [hosts.agent(1, 'curl'), hosts.agent(2, 'nginx')];
  hosts.say(server, announceFrame({ addressSpaces: [{ handle: SPACE + 1, name: 'other' }] }));
  hosts.say(client, openFrame([clientEnd({ handle: 1 })]));
  hosts.say(server, openFrame([serverEnd({ handle: 1, addressSpace: SPACE + 1 })]));
  return Object.keys(hosts.close()).sort();
}

test('tuples are compared within one address space, and without that rule two hosts join that never met', async (context) => {
  const apart = ['10.0.0.1 > host-2/nginx :80', 'host-1/curl > 10.0.0.2 :80'];
  assert.deepEqual(edgesOfTwoSpaces(WITH_ALL_RULES), apart);
  const joined = edgesOfTwoSpaces(await compileEdited('reducer', [SPACE_RULES[0].edit]));
  assert.deepEqual(joined, ['host-1/curl > host-2/nginx :80']);
  context.diagnostic(`5 tuples are compared within one address space: two hosts: ${joined} instead of ${apart.join()}`);
});

/** After a window in which host 1 told its end or settled it, strangers claim a side: the edges then. */
function edgesOfClaims(
  module: WebAssembly.Module,
  first: Uint8Array,
  claims: [host: number, frame: Uint8Array][],
): string[] {
  const hosts = new TwoHosts(module);
  hosts.say(hosts.agent(1, 'curl'), first);
  hosts.close();
  for (const [host, frame] of claims) hosts.say(hosts.agent(host, `unit-${host}`), frame);
  return Object.keys(hosts.close()).sort();
}

test('each rule of a claim that is switched off gives a side to a stranger', async (context) => {
  const end = clientEnd({ handle: 1, joinKey: 5n });
  const server = serverEnd({ handle: 1, joinKey: 5n });
  const told = openFrame([end]);
  const elsewhere = { ...server, localAddress: ipv4(172, 16, 0, 1) };
  const settled = { joinKey: 5n, pair: 0n, role: Role.Client, counted: 1, window: 1, totals: totals() };
  const stories: [Uint8Array, [number, Uint8Array][]][] = [
    [told, [[2, openFrame([{ ...end, cookie: 9n, role: Role.Server }])]]],
    [told, [2, 3, 4, 5].map((host) => [host, openFrame([host === 3 ? server : elsewhere])])],
    [settledFrame([settled]), [[2, openFrame([{ ...end, cookie: 9n }])]]],
  ];
  for (const [index, { section, rule, edit }] of CLAIM_RULES.entries()) {
    const without = await compileEdited('reducer', [edit]);
    const [first, claims] = stories[index];
    const kept = edgesOfClaims(WITH_ALL_RULES, first, claims);
    const lost = edgesOfClaims(without, first, claims);
    assert.notDeepEqual(lost, kept, rule);
    assert(!kept.some((edge) => claims.some(([host]) => host !== 3 && edge.includes(`unit-${host}`))), rule);
    context.diagnostic(`${section} ${rule}: ${lost.join()} instead of ${kept.join() || 'nothing'}`);
  }
});

test('docs/protocol-rules.md is what rule-table.ts writes', () => assert.equal(readRuleTable(), printRuleTable()));

/** One loopback address in two network namespaces of a host: the spaces that its agent tells. */
async function spacesOfLoopback(edits: Edit[]): Promise<number[]> {
  const module = await compileEdited('agent', edits);
  const options = { module, hashSeed: [1n, 2n] as const, limits: {}, windowNs: 1_000_000_000n };
  const nameProcess = () => ({
    executable: '/bin/program',
    unit: '',
    containerId: '',
    containerRuntime: '',
    cgroup: '/',
  });
  const core = new AgentCore({ ...options, addressSpace: 'default', boot: 'boot' }, { nameProcess });
  const remoteAddress = ipv4(127, 0, 0, 1);
  core.events(encodeEvents({ cookie: 1n, remoteAddress, netns: 5 }, { cookie: 2n, remoteAddress, netns: 6 }));
  const payloads = core.encodeWindow(1, { clockOffsetNs: 0n, agentTimeNs: 0n, eventsLost: 0n, blindMs: 0 });
  return itemsOf(payloads, 'Open').map(({ addressSpace }) => addressSpace);
}

test('loopback belongs to a network namespace, and without that rule two namespaces share a space', async (context) => {
  const [apart, shared] = [await spacesOfLoopback([]), await spacesOfLoopback([SPACE_RULES[1].edit])];
  assert.equal(new Set(apart).size, 2);
  assert.equal(new Set(shared).size, 1);
  context.diagnostic(`5 loopback belongs to a network namespace: one host: spaces ${shared} instead of ${apart}`);
});
