// The rules of docs/protocol.md, each with the edit that switches it off. Product code knows nothing of this: the edit is applied to the
// source as it is loaded (host) or compiled (WASM), in a thread of its own. When the code has changed, the test says which edit no longer
// applies. What matters too rarely for a fleet is shown elsewhere: rival claims and details of the ledger in match-rules.ts; a gap in seq, a
// commit that falls and Sealed after a reconnect in channel-rules.ts; that the wait for Welcome is no part of the round trip in
// host/wire/channel-pair.test.ts.

export interface Edit {
  /** Path below the root of the project. */
  file: string;
  find: string;
  replace: string;
}

export interface Rule {
  section: 3 | 4 | 5 | 6 | 7;
  rule: string;
  edits: readonly Edit[];
}

const MATCH = 'wasm-modules/assembly/match';
const INGEST = 'wasm-modules/assembly/ingest';
const AGENT = 'wasm-modules/assembly/agent';
const REDUCER = 'host/reducer';
const WIRE = 'host/wire';

function rule(section: Rule['section'], name: string, file: string, find: string, replace: string): Rule {
  return { section, rule: name, edits: [{ file, find, replace }] };
}

export const PROTOCOL_RULES: readonly Rule[] = [
  rule(
    3,
    'the greater of sender and receiver is booked',
    `${MATCH}/ledger.ts`,
    'const forward = max(client.bytesSent, server.bytesReceived);',
    'const forward = client.bytesSent;',
  ),
  {
    section: 3,
    rule: 'totals and booked never fall',
    edits: [
      {
        file: `${MATCH}/ledger.ts`,
        find: 'if (forward > flow.forwardBytes) {',
        replace: 'if (forward < flow.forwardBytes) flow.forwardBytes = forward;\n  if (forward > flow.forwardBytes) {',
      },
      {
        file: `${MATCH}/receive.ts`,
        find: 'if (totals.bytesSent > hot.bytesSent) hot.bytesSent = totals.bytesSent;',
        replace: 'hot.bytesSent = totals.bytesSent;',
      },
      {
        file: `${MATCH}/receive.ts`,
        find: 'if (totals.bytesReceived > hot.bytesReceived) hot.bytesReceived = totals.bytesReceived;',
        replace: 'hot.bytesReceived = totals.bytesReceived;',
      },
    ],
  },
  rule(
    3,
    'an update is told relative to what this channel told',
    `${AGENT}/index.ts`,
    'changeTold(socket, retainVersion(socket.committed));',
    '',
  ),
  rule(
    3,
    'history from before the look is not traffic',
    `${MATCH}/ledger.ts`,
    'startAtAdopted(hot, clientBase, serverBase);',
    '',
  ),
  rule(
    3,
    'an adopted baseline of a known flow is ignored',
    `${MATCH}/ledger.ts`,
    'const isAdopted = (cold.flags & FLOW_BOOKED) === 0 && isAdoptedEnd(client) && isAdoptedEnd(server);',
    'const isAdopted = (clientBase === 0 || isAdoptedEnd(client)) && (serverBase === 0 || isAdoptedEnd(server));',
  ),
  rule(
    3,
    'history that an end saw after all is booked',
    `${MATCH}/ledger.ts`,
    'if (cold.history !== 0) lookBack',
    'if (false) lookBack',
  ),
  rule(
    3,
    'an end that was there before knows nothing of history',
    `${MATCH}/ledger.ts`,
    'return (endAt(end).flags & END_FRESH) !== 0;',
    'return true;',
  ),
  rule(
    3,
    'a committed baseline raises booked',
    `${MATCH}/ledger.ts`,
    'if (isOfKind(serverBase, BaselineKind.Committed)) raiseForServer(hot, baselineAt(serverBase));',
    '',
  ),
  rule(
    3,
    'a counted opening is not counted again',
    `${MATCH}/counts.ts`,
    'if (((client.flags | server.flags) & END_COUNTED) !== 0) {',
    'if (false) {',
  ),
  rule(
    3,
    'an existing end does not raise the count',
    `${MATCH}/counts.ts`,
    'return end !== noEnd && (end.flags & END_EXISTING) === 0;',
    'return end !== noEnd;',
  ),
  rule(
    3,
    'a connection is counted once',
    `${MATCH}/counts.ts`,
    'if (isOpeningSeen && mark(cold, FLOW_CONNECTION_COUNTED))',
    'if (isOpeningSeen)',
  ),
  {
    section: 3,
    rule: 'a failed connect is no connection',
    edits: [
      {
        file: `${MATCH}/counts.ts`,
        find: 'countFailure(cold, hot.endAt(cold.clientSlot), out);\n    return;',
        replace: 'countFailure(cold, hot.endAt(cold.clientSlot), out);',
      },
      {
        file: `${MATCH}/counts.ts`,
        find: 'countFailure(cold, failed, out);\n    return;',
        replace: 'countFailure(cold, failed, out);',
      },
    ],
  },
  rule(
    3,
    'a flow is active while any end is open',
    `${MATCH}/close.ts`,
    'const isActive = (endOrNone(hot.end0).openCount | endOrNone(hot.end1).openCount) !== 0;',
    'const isActive = (endOrNone(hot.end0).openCount & endOrNone(hot.end1).openCount) !== 0;',
  ),
  rule(
    3,
    'residual is judged when both ends have closed',
    `${MATCH}/counts.ts`,
    '!isSettled && (client.flags & server.flags & END_CLOSED) !== 0',
    '!isSettled && client !== noEnd && server !== noEnd',
  ),
  rule(
    3,
    'a closed flow of one end lingers',
    `${MATCH}/close.ts`,
    'if (!isActive) lingerFlow(',
    'if (!isActive && (hot.end0 === 0 || hot.end1 === 0)) forgetFlow(flow);\n  else if (!isActive) lingerFlow(',
  ),
  rule(
    3,
    'a closed flow of two ends lingers until it is committed',
    `${MATCH}/close.ts`,
    'if (!isActive) lingerFlow(',
    'if (!isActive && isClosed(hot.end0) && isClosed(hot.end1)) forgetFlow(flow);\n  else if (!isActive) lingerFlow(',
  ),
  rule(
    3,
    'what a snapshot may tell again is not forgotten',
    `${REDUCER}/coordinator.ts`,
    'Math.min(window, retelling?.committedWindow ?? window)',
    'Math.max(window, retelling?.committedWindow ?? window)',
  ),
  rule(
    3,
    'a socket with tallies is opened and closed',
    `${AGENT}/retention.ts`,
    'if (socket.tallies === 0) {',
    'if (true) {',
  ),
  {
    section: 3,
    rule: 'tallies precede the close of their socket',
    edits: [
      {
        file: `${AGENT}/encoder.ts`,
        find: 'export const Tallies: u32 = 3;',
        replace: 'export const Tallies: u32 = 6;',
      },
      {
        file: `${AGENT}/encoder.ts`,
        find: 'export const Closes: u32 = 6;',
        replace: 'export const Closes: u32 = 3;',
      },
      {
        file: `${AGENT}/encoder.ts`,
        find: 'if (isSnapshot) return enter(Step.Closes);',
        replace: 'if (isSnapshot) return enter(Step.Tallies);',
      },
    ],
  },
  rule(
    4,
    'a channel waits until the window that it has told is closed',
    `${INGEST}/windows.ts`,
    'return isSealed || reachedWindow >= open;',
    'return isSealed;',
  ),
  rule(
    4,
    'a window waits for the agents that are connected',
    `${REDUCER}/seal-times.ts`,
    'return isComplete || now.unixNs',
    'return true || now.unixNs',
  ),
  rule(
    4,
    'a window waits no longer than the lateness',
    `${REDUCER}/seal-times.ts`,
    'return isComplete || now.unixNs >= endNs + latenessNs;',
    'return isComplete;',
  ),
  rule(
    4,
    'an agent that leaves is not waited for',
    `${REDUCER}/watermark.ts`,
    'this.#members.delete(twin);\n    this.#awaited.delete(twin);',
    '',
  ),
  rule(
    4,
    'who was late three times is not waited for',
    `${REDUCER}/watermark.ts`,
    'export const LATE_COUNT_MAX = 3;',
    'export const LATE_COUNT_MAX = 1e9;',
  ),
  rule(
    4,
    'who was late three times is waited for again once it has caught up',
    `${REDUCER}/watermark.ts`,
    'if (member.lateCount >= LATE_COUNT_MAX && hasCaughtUp) member.lateCount = 0;',
    '',
  ),
  rule(
    4,
    'an idle agent ends its windows',
    'host/agent/agent-core.ts',
    'payloads.push({ kind: FrameKind.WindowEnd,',
    'if (payloads.length === 0) return payloads;\n    payloads.push({ kind: FrameKind.WindowEnd,',
  ),
  rule(
    4,
    'no window closes before its end',
    `${REDUCER}/seal-times.ts`,
    'if (now.unixNs < endNs || now.unixNs < firstCloseNs)',
    'if (now.unixNs < firstCloseNs)',
  ),
  rule(
    4,
    'a fresh reducer waits before its first close',
    `${REDUCER}/seal-times.ts`,
    'if (now.unixNs < endNs || now.unixNs < firstCloseNs)',
    'if (now.unixNs < endNs)',
  ),
  rule(
    4,
    'nobody is late for windows that ended before the first Welcome',
    `${REDUCER}/coordinator.ts`,
    'this.#watermark.advance(this.#times.couldBeTold(window));',
    'this.#watermark.advance(true);',
  ),
  {
    section: 4,
    rule: 'what is told in parts is booked as a whole',
    edits: [
      { file: `${INGEST}/ship.ts`, find: 'function shipStaged(', replace: 'export function shipStaged(' },
      {
        file: `${INGEST}/frames.ts`,
        find: 'import { beginDeparture,',
        replace: 'import { shipStaged, beginDeparture,',
      },
      {
        file: `${INGEST}/frames.ts`,
        find: 'at += readFrame(session, address + at, bytes - at);',
        replace:
          'at += readFrame(session, address + at, bytes - at);\n    if (session.phase === Phase.Read && shipStaged(session)) session.phase = Phase.Read;',
      },
    ],
  },
  rule(
    4,
    'the agent stamps windows in the time of the reducer',
    'host/agent/agent-session.ts',
    "else if (news.kind === 'clock') this.#offsetNs = news.offsetNs;",
    '',
  ),
  rule(5, 'ends join by their key', `${MATCH}/flow-key.ts`, '} else if (open.joinKey !== 0) {', '} else if (false) {'),
  rule(
    5,
    'the two ends have sides',
    `${MATCH}/flow-key.ts`,
    'open.role === Role.Unknown ? <u8>!isLocalLower(open) : <u8>(open.role === Role.Server)',
    '0',
  ),
  rule(
    5,
    'the server names the port',
    `${MATCH}/orientation.ts`,
    'coldEndAt(end).role === Role.Client ? slot : 1 - slot',
    'slot',
  ),
  rule(
    5,
    'orientation freezes',
    `${MATCH}/close.ts`,
    'if ((cold.flags & FLOW_BOOKED) === 0) orientFlow(flow);',
    'orientFlow(flow);',
  ),
  rule(
    5,
    'the better evidence of a role wins',
    `${MATCH}/orientation.ts`,
    'sourceOf(hot.end0) >= sourceOf(hot.end1)',
    'sourceOf(hot.end0) <= sourceOf(hot.end1)',
  ),
  rule(
    5,
    'a new session takes the sockets of its agent over',
    `${MATCH}/claims.ts`,
    'const isSameAgent = coldEndAt(taken).from.identity === open.identity;',
    'const isSameAgent = coldEndAt(taken).from.session === open.session;',
  ),
  rule(
    6,
    'a repeated frame is dropped',
    `${WIRE}/reducer-session.ts`,
    'if (frame.seq <= this.#queuedSeq) {',
    'if (false) {',
  ),
  rule(
    6,
    'Received follows consumption',
    `${WIRE}/reducer-session.ts`,
    'return this.#consumedSeq;',
    'return this.#queuedSeq;',
  ),
  rule(
    6,
    'an agent leaves a reducer that is silent',
    `${WIRE}/agent-channel.ts`,
    'const SILENCE_MS_MAX = 5_000;',
    'const SILENCE_MS_MAX = 1e9;',
  ),
  rule(
    6,
    'a reducer leaves an agent of whom nothing comes for three windows',
    `${WIRE}/reducer-channel.ts`,
    "return nowMs - this.#quietSinceMs >= this.#silenceMsMax ? 'silent' : undefined;",
    'return undefined;',
  ),
  rule(
    6,
    'Received is repeated each second',
    `${WIRE}/reducer-channel.ts`,
    'const HEARTBEAT_MS = 1_000;',
    'const HEARTBEAT_MS = 1e9;',
  ),
  rule(
    6,
    'nothing is sent beyond the credit',
    `${WIRE}/channel-sender.ts`,
    'if (costBytes > this.creditBytes) break;',
    '',
  ),
  {
    section: 6,
    rule: 'without credit nothing is encoded',
    edits: [
      { file: `${WIRE}/agent-channel.ts`, find: 'this.#sender.isDrained &&', replace: '' },
      { file: `${WIRE}/agent-channel.ts`, find: 'this.#sender.creditBytes * 2 >= this.#grantBytes', replace: 'true' },
    ],
  },
  rule(
    6,
    'what was sent and not received is sent again',
    `${WIRE}/channel-sender.ts`,
    'this.#release(receivedSeq);',
    'this.#release(receivedSeq);\n    this.#sent = this.#frames.length;\n    this.#inFlightBytes = this.#keptBytes;',
  ),
  rule(
    6,
    'a stranger gets a snapshot',
    `${WIRE}/agent-channel.ts`,
    'const resume = welcome.resume !== 0 && !isStranger;',
    'const resume = isStranger ? this.#incarnation !== 0n : welcome.resume !== 0;',
  ),
  rule(
    6,
    'a commit names the window of the session',
    `${REDUCER}/worker-node.ts`,
    'session.sealed.seal({ window: toldWindow, closedWindow: window })',
    'session.sealed.seal({ window, closedWindow: window })',
  ),
  rule(
    6,
    'a commit is known by its incarnation',
    `${WIRE}/known-commits.ts`,
    'return this.#closedWindows.get(incarnation) ?? 0;',
    'return Math.max(0, ...this.#closedWindows.values());',
  ),
  {
    section: 6,
    rule: 'what is known to be committed is applied before the snapshot',
    edits: [
      { file: `${WIRE}/agent-channel.ts`, find: 'this.#commitTold(welcome, isStranger);', replace: '' },
      {
        file: `${WIRE}/agent-channel.ts`,
        find: "this.#actions.push({ kind: 'welcome', resume, welcome });",
        replace:
          "this.#actions.push({ kind: 'welcome', resume, welcome });\n    this.#commitTold(welcome, isStranger);",
      },
    ],
  },
  rule(
    6,
    'Welcome waits for the recovery period',
    `${REDUCER}/seal-times.ts`,
    'now.ms - this.#reachableSince.ms < this.#options.recoveryMs',
    'now.ms - this.#reachableSince.ms < 0',
  ),
  rule(
    6,
    'the recovery period outlasts the back-off',
    `${REDUCER}/coordinator.ts`,
    'export const RECOVERY_MS = 3_000;',
    'export const RECOVERY_MS = 1_000;',
  ),
  rule(
    6,
    'the journal forgets what is committed and no more',
    `${AGENT}/journal.ts`,
    'while (entries.count > 0 && entries.first().window <= window) {',
    'while (entries.count > 0) {',
  ),
  rule(
    6,
    'a closed socket is kept until it is committed',
    `${AGENT}/retention.ts`,
    'if (socket.closeWindow > window) {',
    'if (false) {',
  ),
  rule(
    6,
    'closed and committed is still told',
    `${AGENT}/settled.ts`,
    'if (socket.joinKey === 0 || socket.has(SocketFlag.Failed)) return;',
    'return;',
  ),
  rule(
    6,
    'the next window names the first one that it covers',
    'host/agent/agent-core.ts',
    'const fromWindow = Math.min(window, this.#fromWindow || window);',
    'const fromWindow = window;',
  ),
  rule(
    6,
    'what the snapshot of a new session lacks is closed',
    `${REDUCER}/coordinator.ts`,
    "this.#tell(old.worker, { kind: 'detach', twin: id, reason: CloseReason.AgentRestart });",
    '',
  ),
  rule(6, 'what lies beyond the retention is folded', `${AGENT}/retention.ts`, '  foldSocket(socket);\n', ''),
  rule(
    6,
    'what both ends folded counts once',
    `${MATCH}/fold-pairs.ts`,
    'const last = max<i64>(pair.sums(Sum.ClientLast).at(index), pair.sums(Sum.ServerLast).at(index));',
    'const last = pair.sums(Sum.ClientLast).at(index) + pair.sums(Sum.ServerLast).at(index);',
  ),
  rule(
    6,
    'a fold adds only what the other end has not told one by one',
    `${MATCH}/fold-members.ts`,
    'member.lacksClient = !member.isYoung && isLacking(client);',
    'member.lacksClient = false;',
  ),
  rule(6, 'a tally that is committed is not told again', `${AGENT}/index.ts`, 'commitTallies(window);', ''),
  rule(
    6,
    'a tally that is not committed is told again',
    `${AGENT}/index.ts`,
    'retellTallies(isSameReducer === 0 ? 0 : takenWindow);',
    'if (isSameReducer !== 0) retellTallies(takenWindow);',
  ),
  rule(
    6,
    'what the same reducer has not taken is told again',
    `${AGENT}/index.ts`,
    'retellTallies(isSameReducer === 0 ? 0 : takenWindow);',
    'if (isSameReducer === 0) retellTallies(0);',
  ),
  rule(
    6,
    'what the same reducer has taken is not told again',
    `${AGENT}/index.ts`,
    'retellTallies(isSameReducer === 0 ? 0 : takenWindow);',
    'retellTallies(0);',
  ),
  rule(6, 'a fold that is committed is still told', `${AGENT}/settled-folds.ts`, 'due = oldest;', 'due = 0;'),
  rule(
    7,
    'a commit follows the success of the export',
    'test/simulation/exporter.ts',
    'else this.queue.failed(schedule.nowMs);',
    'else reducer.exported(this.queue.succeeded());',
  ),
  rule(
    7,
    'windows are exported in order',
    'host/export/export-queue.ts',
    'return this.#batches[0];',
    'this.#batches.reverse();\n    return this.#batches[0];',
  ),
  rule(
    7,
    'the next batch waits until the agents were told of the last',
    'host/export/export-queue.ts',
    'this.#untold = batch.lastWindow;',
    '',
  ),
  rule(
    7,
    'the bytes of a batch are fixed',
    'host/export/export-queue.ts',
    'if (last === undefined || !isFull || (this.#isBegun && this.#batches.length === 1)) {',
    'if (last === undefined || (!isFull && !this.#inFlight)) {',
  ),
  rule(
    7,
    'adjacent windows merge when the queue is full',
    'host/export/export-queue.ts',
    'content: this.#merge(last.content, batch.content),',
    'content: batch.content,',
  ),
];
