/**
 * What an edge is asked for, one term at a time. A term is a field and a text:
 *
 *   text     a part of the name, upper and lower case alike; with `*` for any characters the whole name, `=text` the whole name as it is
 *   address  one address, or a range such as 10.0.0.0/8
 *   port     of the server, or a range such as 8000-8999
 *
 * A name of a process or unit is chosen by whoever runs it, and a pattern may come from another host: matching takes time in proportion to
 * their product, whatever they are.
 */
import ipaddr from 'ipaddr.js';
import { transportName } from '../export/edge-rows.ts';
import { endLevels, LEVEL_NAMES, type LevelName } from '../export/levels.ts';
import type { Edge, EdgeEnd } from './edge-answer.ts';
import { failureCount } from './edge-order.ts';

export type EdgeTest = (edge: Edge) => boolean;
type TextTest = (text: string) => boolean;
type Range = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

/** A term that means nothing. The message says what is allowed, without the name of the field. */
export class TermError extends Error {}

/** Each makes a test of a text; throws TermError. */
export const TERMS = {
  match: (text) => {
    const matchesEnd = endTest(text);
    const matchesText = textTest(text);
    return (edge) =>
      matchesEnd(edge.client) ||
      matchesEnd(edge.server) ||
      matchesText(edge.transport) ||
      String(edge.serverPort) === text;
  },
  from: (text) => {
    const matches = endTest(text);
    return (edge) => matches(edge.client);
  },
  to: (text) => {
    const matches = endTest(text);
    return (edge) => matches(edge.server);
  },
  process: (text) => {
    const matches = textTest(text);
    return ({ client, server }) =>
      [...client.processes, ...server.processes].some((name) => name !== '' && matches(name));
  },
  unit: (text) => either(textTest(text), (end) => (end.kind === 'service' ? end.role : '')),
  container: (text) => either(textTest(text), (end) => end.container),
  address: (text) => {
    const range = parseRange(text);
    if (range === undefined) throw new TermError(`"${text}" is not an address, or a range such as 10.0.0.0/8`);
    return either(
      (address) => isWithin(address, range),
      (end) => end.address,
    );
  },
  port: (text) => {
    const [first, last] = parsePorts(text);
    return ({ serverPort }) => serverPort !== null && serverPort >= first && serverPort <= last;
  },
  protocol: (text) => {
    if (!/^(tcp|udp|\d{1,3})$/i.test(text) || Number(text) > 255)
      throw new TermError(`"${text}" is not tcp, udp, or a protocol's number from 0 to 255`);
    const transport = /^\d/.test(text) ? transportName(Number(text)) : text.toLowerCase();
    return (edge) => edge.transport === transport;
  },
} as const satisfies Record<string, (text: string) => EdgeTest>;

export type TermField = keyof typeof TERMS;
export const TERM_FIELDS = Object.keys(TERMS) as TermField[];

/** Only the id levels keep these. */
export const ID_FIELDS = ['process', 'unit', 'container', 'address'] as const satisfies readonly TermField[];

export const hasFailed: EdgeTest = (edge) => failureCount(edge) > 0;

/** True when an end of `level` keeps its id, and with it what ID_FIELDS ask for. */
export function keepsIds(level: LevelName): boolean {
  const { client, server } = endLevels(LEVEL_NAMES[level]);
  return client === 'id' || server === 'id';
}

/** Anything that is said of the end. */
function endTest(text: string): (end: EdgeEnd) => boolean {
  const matches = textTest(text);
  const range = parseRange(text);
  return (end) => namesOf(end).some(matches) || (range !== undefined && isWithin(end.address, range));
}

function namesOf(end: EdgeEnd): string[] {
  const { containerName, imageName, imageTag, podUid, podNamespace, podName } = end;
  const ofContainer = [end.container, containerName, imageName, imageTag, podUid, podNamespace, podName];
  return [end.id, end.role, end.zone, end.host, ...end.processes, end.process, end.address, ...ofContainer];
}

function either(matches: TextTest, value: (end: EdgeEnd) => string): EdgeTest {
  return ({ client, server }) => [value(client), value(server)].some((text) => text !== '' && matches(text));
}

function textTest(text: string): TextTest {
  if (text === '') throw new TermError('is empty');
  const wanted = text.toLowerCase();
  if (wanted.startsWith('=')) return (name) => name.toLowerCase() === wanted.slice(1);
  if (!wanted.includes('*')) return (name) => name.toLowerCase().includes(wanted);
  const pieces = wanted.split('*');
  return (name) => matchesPieces(name.toLowerCase(), pieces);
}

/** `pieces` in this order, the first at the beginning and the last at the end. The leftmost place of each is as good as any other. */
function matchesPieces(name: string, pieces: readonly string[]): boolean {
  const [first, last] = [pieces[0], pieces[pieces.length - 1]];
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  const end = name.length - last.length;
  let from = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = name.indexOf(piece, from);
    if (found < 0 || found + piece.length > end) return false;
    from = found + piece.length;
  }
  return true;
}

function parseRange(text: string): Range | undefined {
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && !ipaddr.IPv6.isValid(text)) return undefined;
  const address = ipaddr.process(text);
  return [address, address.kind() === 'ipv4' ? 32 : 128];
}

function isWithin(text: string, [base, bits]: Range): boolean {
  if (!ipaddr.isValid(text)) return false;
  const address = ipaddr.process(text);
  return address.kind() === base.kind() && address.match(base, bits);
}

function parsePorts(text: string): [number, number] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match !== null && first >= 1 && first <= last && last <= 65_535) return [first, last];
  throw new TermError(`"${text}" is not a port from 1 to 65535, or a range such as 8000-8999`);
}
