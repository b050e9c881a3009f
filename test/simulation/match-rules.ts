// Rules of docs/protocol.md that the simulated fleet of hosts has no occasion to break: rival claims, and details of the ledger. Each has the
// edit that switches it off and a seed of wasm-modules/testing/fleet-plan.ts that then differs from the naive ledger.
import type { Edit, Rule } from './rules.ts';

export interface MatchRule {
  section: Rule['section'];
  rule: string;
  seed: number;
  edit: Edit;
}

const MATCH = 'wasm-modules/assembly/match';

function rule(
  section: Rule['section'],
  name: string,
  seed: number,
  file: string,
  find: string,
  replace: string,
): MatchRule {
  return { section, rule: name, seed, edit: { file: `${MATCH}/${file}`, find, replace } };
}

export const MATCH_RULES: readonly MatchRule[] = [
  rule(
    3,
    'segments are booked as bytes are',
    1,
    'ledger.ts',
    'const forwardPackets = max(client.segmentsSent, server.segmentsReceived);',
    'const forwardPackets = client.segmentsSent;',
  ),
  rule(
    3,
    'retransmits are the word of the sender',
    1,
    'ledger.ts',
    'flow.forwardRetransmits = client.retransmits;',
    'flow.forwardRetransmits = max(client.retransmits, server.retransmits);',
  ),
  rule(
    3,
    'of adopted totals the least is where counting starts',
    2,
    'ledger.ts',
    'flow.forwardBytes = min(flow.forwardBytes, server.bytesReceived);',
    'flow.forwardBytes = max(flow.forwardBytes, server.bytesReceived);',
  ),
  rule(
    3,
    'a committed baseline never lowers booked',
    2,
    'ledger.ts',
    'flow.forwardBytes = max(flow.forwardBytes, base.bytesSent);',
    'flow.forwardBytes = base.bytesSent;',
  ),
  rule(
    3,
    'own numbers begin at the committed total of the end itself',
    1,
    'own-numbers.ts',
    'baseline.bytesSent = base.bytesSent;',
    '',
  ),
  rule(
    3,
    'the totals of an end that is behind are kept beside what is booked',
    1,
    'own-numbers.ts',
    'if (isClientAsBooked(hot, client) && isServerAsBooked(hot, server)) {',
    'if (true) {',
  ),
  rule(3, 'a failed connect is counted once', 1, 'counts.ts', 'if (!mark(cold, FLOW_FAILURE_COUNTED)) return;', ''),
  rule(
    4,
    'late bytes name the first window that they cover',
    1,
    'ledger.ts',
    'if (from < out.fromWindow) out.fromWindow = from;',
    '',
  ),
  rule(
    5,
    'without a key the ends join by their tuple',
    1,
    'flow-key.ts',
    'tupleHash(open, isLower, 2), tupleHash(open, isLower, 3)',
    'tupleHash(open, true, 2), tupleHash(open, true, 3)',
  ),
  rule(
    5,
    'a third socket that claims a taken side is refused',
    1,
    'claims.ts',
    'const reason = isSame ?',
    'if (!isSame) return merge(flow, taken, open, node);\n  const reason = isSame ?',
  ),
  rule(
    5,
    'a second live session with the same socket is refused',
    1,
    'claims.ts',
    'const reason = isSame ?',
    'if (isSame) return merge(flow, taken, open, node);\n  const reason = isSame ?',
  ),
];

/** A rule of which a story of a few frames shows that it is needed. */
export interface StoryRule {
  section: Rule['section'];
  rule: string;
  edit: Edit;
}

/** The random fleets tell no tuple that is wrong. */
export const CLAIM_RULES = [
  {
    section: 5,
    rule: 'a claim that repeats an endpoint of the other end is refused',
    edit: { file: `${MATCH}/claims.ts`, find: 'canFace(witness, open) ?', replace: 'true ?' },
  },
  {
    section: 5,
    rule: 'of strangers that claim a side the one that mirrors the other end wins',
    edit: {
      file: `${MATCH}/claims.ts`,
      find: 'if (isMirror !== mirrorsEnd(witness, end)) return isMirror;',
      replace: '',
    },
  },
  {
    section: 5,
    rule: 'the side of a settled socket is left to its own host',
    edit: {
      file: `${MATCH}/claims.ts`,
      find: 'if (isOld && coldEndAt(settled).from.boot !== open.boot) return refuse(RefusalReason.Ambiguous);',
      replace: '',
    },
  },
] as const satisfies readonly StoryRule[];

/** The random fleets live in one space. */
export const SPACE_RULES = [
  {
    section: 5,
    rule: 'tuples are compared within one address space',
    edit: { file: `${MATCH}/flow-key.ts`, find: 'stableHashPair(open.addressSpace,', replace: 'stableHashPair(0,' },
  },
  {
    section: 5,
    rule: 'loopback belongs to a network namespace',
    edit: {
      file: 'wasm-modules/assembly/agent/address-spaces.ts',
      find: 'if (!isLocalToNetns(localHi, localLo) && !isLocalToNetns(remoteHi, remoteLo)) return DEFAULT_SPACE;',
      replace: 'return DEFAULT_SPACE;',
    },
  },
] as const satisfies readonly StoryRule[];
