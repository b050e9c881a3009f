// What the API answers, as schemas: they type the answers here and describe them in docs/openapi.json.
import { z } from 'zod';
import { LEVEL_NAMES, type LevelName } from '../export/levels.ts';
import { HistogramSchema } from './histogram-answer.ts';
import { TalliesSchema } from './tally-answer.ts';

export const LEVELS = Object.keys(LEVEL_NAMES) as [LevelName, ...LevelName[]];

const count = z.int().min(0);
const window = z.int().min(0);

const BothWays = z
  .strictObject({ forward: count, reverse: count })
  .meta({ id: 'BothWays', description: 'From client to server, and back.' });

const EdgeEnd = z
  .strictObject({
    kind: z
      .string()
      .describe(
        'How the node was named: container, service, process, host, private_address, public_address, dns, other.',
      ),
    id: z.string().describe('Empty at the az and role levels.'),
    role: z.string().describe('Process, systemd unit or container without its place.'),
    zone: z.string(),
    host: z.string(),
    address: z.string().describe('Of an end that is known by nothing else.'),
    process: z.string().describe('Of an end that is named after its process.'),
    container: z.string().describe('Its id.'),
    processes: z
      .array(z.string())
      .describe(
        'At id_id: executables of the processes within a unit or container that have this edge, or the process itself.',
      ),
    moreProcesses: count.describe('Executables beyond those, at least.'),
    containerName: z.string().describe('What people call the container.'),
    imageName: z.string().describe('The image that it was made of, without the tag.'),
    imageTag: z.string().describe('Its digest when it has no tag.'),
    podUid: z.string(),
    podQos: z.string().describe('guaranteed, burstable or besteffort.'),
    podNamespace: z.string(),
    podName: z.string(),
  })
  .meta({ id: 'EdgeEnd', description: 'A node: what an end is. Texts that are not known are empty.' });

const Rtt = z
  .strictObject({ count, minUs: count, maxUs: count, meanUs: count })
  .nullable()
  .describe('Smoothed round-trip time, microseconds; null without a sample.');

const Failures = z
  .strictObject({ refused: count, timedOut: count, abandoned: count, unreachable: count, other: count })
  .meta({ id: 'Failures', description: 'Connects that failed, by reason.' });

const OwnNumbers = z
  .strictObject({
    bytes: z.strictObject({ sent: count, received: count }),
    packets: z.strictObject({ sent: count, received: count }),
    retransmits: count.describe('Packets that this end sent again.'),
  })
  .meta({
    id: 'OwnNumbers',
    description: 'What one end reported by itself: what its own totals rose by since its agent watches it.',
  });

/** What is counted of an edge, over one window or several. */
const COUNTS = {
  bytes: BothWays,
  packets: BothWays,
  retransmits: BothWays,
  rtt: Rtt,
  connections: count.describe('Established in these windows.'),
  closed: count,
  active: count.describe('Open at the end of the last window.'),
  failures: Failures,
  resets: z.strictObject({ client: count, server: count }).describe('By the end that sent them.'),
  match: z
    .object({ both: count, client: count, server: count })
    .describe('Flows that moved, in each window, by the ends that saw them.'),
  own: z
    .strictObject({ client: OwnNumbers.nullable(), server: OwnNumbers.nullable() })
    .describe(
      'Of each end, null when it was not seen. Of a flow, `bytes` and `packets` are the greater of the two in each direction.',
    ),
  residualBytes: count.describe('Difference between what one end sent and the other received.'),
  judgedBytes: count.describe('Bytes of which both ends told, over which the residual was taken.'),
  lateBytes: count.describe('Bytes of earlier windows that were told late.'),
};

const Edge = z
  .strictObject({
    key: z.string().describe('The same edge has the same key in each window and in each process.'),
    client: EdgeEnd,
    server: EdgeEnd,
    transport: z.string().describe('tcp, udp, or the IANA number of another protocol.'),
    serverPort: z.int().min(1).max(65_535).nullable().describe('Null when it is not known which end is the server.'),
    ...COUNTS,
    spanSeconds: z
      .number()
      .positive()
      .describe('Over which the bytes moved: longer than the windows when some were late.'),
    tallies: TalliesSchema.optional().describe(
      'What its ends counted beyond that; only when `detail` asks for it, and of an edge alone.',
    ),
  })
  .meta({ id: 'Edge', description: 'Who talks to whom. Sums over the windows, unless it says otherwise.' });

const RANGE = {
  level: z.enum(LEVELS),
  windowNs: z.int().min(0).describe('Length of a window; 0 before the first has closed.'),
  firstWindow: window.nullable().describe('Unix time divided by windowNs; null before the first window has closed.'),
  lastWindow: window.nullable(),
};

export const EdgesAnswerSchema = z.strictObject({ ...RANGE, edges: z.array(Edge) }).meta({ id: 'EdgesAnswer' });

const EdgeWindow = z
  .strictObject({ window, ...COUNTS })
  .meta({ id: 'EdgeWindow', description: 'One edge in one window.' });

export const HistoryAnswerSchema = z
  .strictObject({
    ...RANGE,
    edge: Edge.describe('All windows added up.'),
    rttHistogram: HistogramSchema.nullable().describe('Null at levels that keep none, and without a sample.'),
    windows: z
      .array(EdgeWindow)
      .describe('Windows in which the edge is told of, oldest first; in others it was still.'),
  })
  .meta({ id: 'HistoryAnswer' });

export const WindowsAnswerSchema = z
  .strictObject({
    windowNs: RANGE.windowNs,
    oldest: window.nullable().describe('Oldest window that is kept; null before the first has closed.'),
    newest: window.nullable(),
    windows: z.array(window).describe('Closed windows behind `since`, oldest first.'),
  })
  .meta({ id: 'WindowsAnswer' });

export const PipelineAnswerSchema = z
  .strictObject({
    agents: count,
    framesAccepted: count,
    framesRefused: count,
    socketsLive: count,
    socketsRefused: count,
    lost: count.describe('Events and sockets that no agent could tell: the ring or a table was full.'),
    lateWindows: count.describe('Windows that closed without waiting for all agents.'),
    exportQueue: count.describe('Windows that wait for the exporter.'),
    refused: z.record(z.string(), count).describe('What was refused, by reason.'),
  })
  .meta({ id: 'PipelineAnswer', description: 'What the pipeline says of itself; totals since the reducer started.' });

const AgentHook = z
  .strictObject({
    hook: z.string(),
    backend: z.string().nullable().describe('What serves it; null when nothing does.'),
    error: z.string().optional().describe('Why nothing does.'),
  })
  .meta({ id: 'AgentHook', description: 'A place in the kernel where the agent looks.' });

const AgentFinding = z
  .strictObject({
    id: z.string(),
    status: z.enum(['ok', 'limited', 'missing', 'unseen']),
    value: z.string(),
  })
  .meta({ id: 'AgentFinding', description: 'As `tributary doctor --json` tells it, which also says what it costs.' });

const Agent = z
  .strictObject({
    node: z.string(),
    scope: z.string().describe('Empty: the whole host; else such as netns:4026532201.'),
    zone: z.string(),
    version: z.string(),
    session: z.string().describe('One agent process: 16 hexadecimal digits.'),
    connected: z.boolean().describe('One that is not may come back for five minutes.'),
    lastWindow: window.nullable().describe('The last window that it has told; null before the first.'),
    lagWindows: count.nullable().describe('Windows that have ended since; null before the first that it tells.'),
    findings: z.array(AgentFinding),
    hooks: z.array(AgentHook),
  })
  .meta({ id: 'Agent' });

export const AgentsAnswerSchema = z
  .strictObject({ windowNs: z.int().min(1).describe('Length of a window.'), agents: z.array(Agent) })
  .meta({ id: 'AgentsAnswer', description: 'The agents that are known, by node and scope.' });

const ListeningSocket = z
  .strictObject({
    node: z.string(),
    scope: z.string().describe('Of the agent that sees it, as in Agent.'),
    address: z.string().describe('0.0.0.0 or :: for any.'),
    port: z.int().min(0).max(65_535),
    netns: z.int().min(0).describe('Inode of its network namespace.'),
    pid: z.int().min(0).describe('The process that listens; 0 when that is not known.'),
    process: z.string().describe('Its name (comm); empty when it is not known.'),
  })
  .meta({ id: 'ListeningSocket' });

export const ListenersAnswerSchema = z
  .strictObject({
    listeners: z.array(ListeningSocket),
    omitted: count.describe('How many more listen.'),
  })
  .meta({
    id: 'ListenersAnswer',
    description:
      'TCP sockets that listen, by node, scope and port; of one agent at most 1 024, those with the least ports.',
  });

export const ErrorAnswerSchema = z
  .strictObject({ error: z.string().describe('Names the parameter and what is allowed.') })
  .meta({ id: 'ErrorAnswer' });

export type BothWays = z.infer<typeof BothWays>;
export type EdgeEnd = z.infer<typeof EdgeEnd>;
export type OwnNumbers = z.infer<typeof OwnNumbers>;
export type Edge = z.infer<typeof Edge>;
export type EdgeWindow = z.infer<typeof EdgeWindow>;
export type EdgesAnswer = z.infer<typeof EdgesAnswerSchema>;
export type HistoryAnswer = z.infer<typeof HistoryAnswerSchema>;
export type WindowsAnswer = z.infer<typeof WindowsAnswerSchema>;
export type Agent = z.infer<typeof Agent>;
export type AgentsAnswer = z.infer<typeof AgentsAnswerSchema>;
export type ListenersAnswer = z.infer<typeof ListenersAnswerSchema>;
export type PipelineAnswer = z.infer<typeof PipelineAnswerSchema>;
