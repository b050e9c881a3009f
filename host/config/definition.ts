/**
 * Every option of every role. Options of one role are in its section, what roles share stands beside. To add one, add it here: the file,
 * the variable, the flag, the help, `tributary config` and docs/configuration.md follow.
 */
import { availableParallelism } from 'node:os';
import { DEFAULT_TOKEN_FILE } from '../api/api-access.ts';
import { SORT_KEYS } from '../api/edge-order.ts';
import { LOG_FORMATS, LOG_LEVELS } from '../telemetry/log.ts';
import {
  address,
  boolean,
  duration,
  hexadecimal,
  level,
  listOf,
  name,
  oneOf,
  path,
  prefixedPath,
  scope,
  tcpAddress,
  wholeNumber,
} from './kinds.ts';
import { nameOptions, option, type ValuesOf } from './option.ts';

/** As many as reducer.wasm has channels for. */
export const WORKER_COUNT_MAX = 64;
/** More than all their workers can have at a level. */
export const SERIES_BUDGET_MAX = WORKER_COUNT_MAX * 2 ** 20;
/** One for each processor, up to this many; more have to be asked for. */
const DEFAULT_WORKER_COUNT_MAX = 8;
/** What the names of nodes and zones are cut to in every table of the reducer. */
const NAME_LENGTH_MAX = 63;
/** Where a reducer of this host serves its API. */
const DEFAULT_API = 'unix:/run/tributary/api.sock';

export const TREE = {
  insecure: option({
    kind: boolean(),
    description: 'allow plaintext between hosts',
    default: false,
    roles: ['agent', 'reducer', 'edges', 'replay'],
  }),
  tls: {
    ca: option({
      kind: path(),
      description: 'certificates of the authorities that the other end may have its certificate from',
      roles: ['agent', 'reducer', 'replay'],
    }),
    cert: option({ kind: path(), description: 'certificate of this end', roles: ['agent', 'reducer', 'replay'] }),
    key: option({ kind: path(), description: 'key of that certificate', roles: ['agent', 'reducer', 'replay'] }),
    serverName: option({
      kind: name(1, 253),
      description: 'name in the certificate of the reducer',
      otherwise: 'the host of its address',
      roles: ['agent', 'replay'],
    }),
  },
  api: {
    address: option({
      kind: address(),
      description: 'where the HTTP API of the reducer is',
      default: DEFAULT_API,
      flag: 'api',
      roles: ['reducer', 'up', 'edges'],
    }),
    tokenFile: option({
      kind: path(),
      description: 'holds the token that the API asks for over TCP',
      otherwise: DEFAULT_TOKEN_FILE,
      roles: ['reducer', 'up', 'edges'],
    }),
    ca: option({
      kind: path(),
      description: 'certificates of the authorities that the API may have its certificate from; asks for TLS',
      roles: ['edges'],
    }),
  },
  prometheus: {
    listen: option({
      kind: tcpAddress(),
      description: 'serve /metrics for a Prometheus there',
      roles: ['reducer', 'up'],
    }),
  },
  log: {
    level: option({
      kind: oneOf('LEVEL', LOG_LEVELS),
      description: 'the least that is logged',
      otherwise: 'info; of up: warn, and error on a terminal',
      roles: ['agent', 'reducer', 'up'],
    }),
    format: option({
      kind: oneOf('FORMAT', LOG_FORMATS),
      description: 'auto is text on a terminal and JSON lines elsewhere',
      default: 'auto',
      roles: ['agent', 'reducer', 'up'],
    }),
  },
  agent: {
    reducer: option({ kind: address(), description: 'where to tell' }),
    output: option({
      kind: prefixedPath('file:'),
      description:
        'write the same frames to a file; .zst compresses it; beside a reducer it gets what the reducer gets, when it does',
    }),
    scope: option({
      kind: scope(),
      description: 'look at one network namespace only, or at one v2 control group and those below it',
    }),
    window: option({
      kind: duration('100ms', '60m'),
      description: 'length of a window; a reducer has the last word',
      default: '10s',
    }),
    node: option({
      kind: name(1, NAME_LENGTH_MAX),
      description: 'name of this host',
      otherwise: 'its hostname, or the name of the namespace',
    }),
    zone: option({ kind: name(0, NAME_LENGTH_MAX), description: 'availability zone of this host', default: '' }),
    zstd: option({
      kind: boolean(),
      description: 'compress what is told to the reducer; --no-zstd does without',
      otherwise: 'when the reducer is on another host',
    }),
    drops: option({
      kind: boolean(),
      description: 'count what the kernel drops, by reason and function; --no-drops does without',
      default: true,
    }),
    dns: option({
      kind: boolean(),
      description: 'time the DNS lookups on port 53; --no-dns does without',
      default: true,
    }),
    dnsNames: option({
      kind: boolean(),
      description:
        'tell DNS lookups apart by the names that were asked for, at most 16 384 at once, and name the addresses in the answers',
      default: false,
    }),
    udp: option({
      kind: boolean(),
      description: 'follow UDP, which costs a look at every packet; --no-udp does without',
      default: true,
    }),
    udpIdle: option({
      kind: duration('1s', '60m'),
      description: 'a UDP flow is over after so long without a datagram; alike on all hosts',
      default: '60s',
    }),
    containerSocket: option({
      kind: path(),
      description: 'socket of Docker or Podman, which is asked for the names of containers, if it is there',
      default: '/var/run/docker.sock',
    }),
    containerdSocket: option({
      kind: path(),
      description: 'socket of containerd, likewise',
      default: '/run/containerd/containerd.sock',
    }),
    cpuLimit: option({
      kind: wholeNumber(1, 10_000),
      description:
        'per cent of one processor that the agent and its eBPF programs may take together; above it DNS, drops and the detail of sockets are left out, in this order, but no bytes',
      otherwise: 'no limit',
    }),
  },
  reducer: {
    listen: option({
      kind: listOf(address()),
      description: 'where agents tell',
      default: ['127.0.0.1:4400'],
    }),
    workers: option({
      kind: wholeNumber(1, WORKER_COUNT_MAX),
      description: 'worker threads',
      otherwise: `one for each processor, at most ${DEFAULT_WORKER_COUNT_MAX}`,
    }),
    window: option({ kind: duration('1s', '5m'), description: 'length of a window', default: '10s' }),
    lateness: option({
      kind: duration('1ms', '5m'),
      description: 'how long a window waits for agents after its end',
      default: '5s',
    }),
    level: option({ kind: listOf(level()), description: 'levels that are exported', default: ['az_az'] }),
    seriesBudget: option({
      kind: wholeNumber(1, SERIES_BUDGET_MAX),
      description: 'rows of each level in a window; what exceeds them adds up in (other)',
      default: 100_000,
    }),
    verifyNodeNames: option({
      kind: boolean(),
      description: 'take an agent with a certificate only under a name that the certificate stands for',
      default: false,
    }),
  },
  up: {
    level: option({ kind: level(), description: 'level of the tree that is shown', default: 'id_id' }),
    by: option({ kind: oneOf('KEY', SORT_KEYS), description: 'sort by', default: 'rate' }),
    window: option({ kind: duration('1s', '5m'), description: 'how often the picture changes', default: '1s' }),
    lateness: option({
      kind: duration('1ms', '5m'),
      description: 'how long a window waits for the agent',
      default: '1s',
    }),
  },
  edges: {
    level: option({ kind: level(), description: 'level of the tree', default: 'id_id' }),
    by: option({ kind: oneOf('KEY', SORT_KEYS), description: 'sort by', default: 'rate' }),
  },
  replay: {
    workers: option({ kind: wholeNumber(1, WORKER_COUNT_MAX), description: 'worker threads', default: 1 }),
    seed: option({
      kind: hexadecimal(),
      description: 'seed of the hash tables; changes nothing that is printed',
      default: '1',
    }),
    speed: option({
      kind: oneOf('SPEED', ['max', 'real']),
      description: 'at once, or as long as it took',
      default: 'max',
    }),
    level: option({
      kind: level(['all']),
      description: 'what is printed; all goes with --json',
      default: 'id_id',
    }),
    json: option({
      kind: boolean(),
      description: 'print each window as one line for each level, in canonical order',
      default: false,
    }),
    reducer: option({ kind: address(), description: 'tell a running reducer instead, with all windows moved to now' }),
  },
} as const;

export const OPTIONS = nameOptions(TREE);

/** What roles read. */
export type Configuration = ValuesOf<typeof TREE>;

export function defaultWorkers(): number {
  return Math.min(DEFAULT_WORKER_COUNT_MAX, availableParallelism());
}
