// Rules of docs/protocol.md that hold for one channel, each with the edit that switches it off and a seed of the miniature fleet of
// host/wire/testing/channel-world.ts that then breaks a promise. Some matter to the whole fleet too, and are in rules.ts as well.
import type { Edit, Rule } from './rules.ts';

export interface ChannelRule {
  section: Rule['section'] | 2;
  rule: string;
  seed: number;
  edits: readonly Edit[];
}

function rule(
  section: ChannelRule['section'],
  name: string,
  seed: number,
  file: string,
  ...changes: [find: string, replace: string][]
): ChannelRule {
  const edits = changes.map(([find, replace]) => ({ file: `host/wire/${file}.ts`, find, replace }));
  return { section, rule: name, seed, edits };
}

export const CHANNEL_RULES: readonly ChannelRule[] = [
  rule(2, 'a repeated frame is dropped', 26, 'reducer-session', [
    'if (frame.seq <= this.#queuedSeq) {',
    'if (false) {',
  ]),
  rule(2, 'a gap ends the connection', 2, 'reducer-session', ["return this.#refuse('seq_gap');", '{}']),
  rule(6, 'Received follows consumption', 14, 'reducer-session', [
    'return this.#consumedSeq;',
    'return this.#queuedSeq;',
  ]),
  rule(6, 'nothing is sent beyond the credit', 5, 'channel-sender', ['if (costBytes > this.creditBytes) break;', '']),
  rule(6, 'a small frame costs 256 bytes of credit', 71, 'frame', [
    'const FRAME_COST_BYTES_MIN = 256;',
    'const FRAME_COST_BYTES_MIN = 0;',
  ]),
  rule(6, 'what was sent and not received is sent again', 1, 'channel-sender', [
    'this.#release(receivedSeq);',
    'this.#release(receivedSeq);\n    this.#sent = this.#frames.length;\n    this.#inFlightBytes = this.#keptBytes;',
  ]),
  rule(6, 'a stranger gets a snapshot', 1, 'agent-channel', [
    'const resume = welcome.resume !== 0 && !isStranger;',
    'const resume = isStranger ? this.#incarnation !== 0n : welcome.resume !== 0;',
  ]),
  rule(6, 'a commit never falls', 1, 'agent-channel', ['if (pair.window > this.#committed.window) {', 'if (true) {']),
  rule(
    6,
    'what is known to be committed is applied before the snapshot',
    9,
    'agent-channel',
    ['this.#commitTold(welcome, isStranger);', ''],
    [
      "this.#actions.push({ kind: 'welcome', resume, welcome });",
      "this.#actions.push({ kind: 'welcome', resume, welcome });\n    this.#commitTold(welcome, isStranger);",
    ],
  ),
  rule(6, 'a commit is known by its incarnation', 21, 'known-commits', [
    'return this.#closedWindows.get(incarnation) ?? 0;',
    'return Math.max(0, ...this.#closedWindows.values());',
  ]),
  rule(6, 'what was sealed is told again after a reconnect', 48, 'reducer-channel', [
    'this.#toldSealed = 0;\n    this.#toldEchoNs',
    'this.#toldSealed = session.sealed.list().at(-1)?.closedWindow ?? 0;\n    this.#toldEchoNs',
  ]),
];
