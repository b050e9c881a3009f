// The code of a tally in words: names of errors, of the kernel's own enumerations, and of the DNS registries.
import { constants } from 'node:os';
import { CloseReason, ConnectionPhase, RetransmitKind } from '../wire/gen/kernel-events-layout.ts';
import { ShedStep } from '../wire/gen/wire-layout.ts';
import type { AttributeId, TallyCode } from './gen/metrics.ts';

export type CodeAttributes = Partial<Record<AttributeId, string | number>>;

/** What `code` says, by the attributes that may tell it. */
export function codeAttributes(meaning: TallyCode | undefined, code: number): CodeAttributes {
  return meaning === undefined ? {} : MEANINGS[meaning](code);
}

const MEANINGS: Record<TallyCode, (code: number) => CodeAttributes> = {
  close_reason: (code) => ({ closeReason: CLOSE_REASONS.get(code) ?? String(code) }),
  retransmit_kind: (code) => ({ retransmitKind: RETRANSMIT_KINDS.get(code) ?? String(code) }),
  connection_phase: (code) => ({ connectionPhase: PHASES.get(code) ?? String(code) }),
  errno: (code) => ({ errorCode: ERRORS.get(code) ?? String(code) }),
  shed_step: (code) => ({ shed: SHED_STEPS.get(code) ?? String(code) }),
  port: (code) => ({ listenerPort: code }),
  // Without a label; the label has the kernel's name of it.
  drop_reason: (code) => ({ dropReason: String(code) }),
  dns_answer: (code) => dnsAttributes(code >>> 16, code & 0xffff),
};

const CLOSE_REASONS = wordsOf(CloseReason);
const RETRANSMIT_KINDS = wordsOf(RetransmitKind);
const SHED_STEPS = wordsOf(ShedStep);
const PHASES = wordsOf(ConnectionPhase);
/** Of Linux: agents run nowhere else. */
const ERRORS = new Map(Object.entries(constants.errno).map(([name, code]) => [code, name]));

/** Values → names as words: `TailLossProbe` is tail_loss_probe, `None` is unknown. */
function wordsOf(names: Readonly<Record<string, number>>): Map<number, string> {
  const word = (name: string): string =>
    name === 'None' ? 'unknown' : name.replace(/(?<!^)(?=[A-Z])/g, '_').toLowerCase();
  return new Map(Object.entries(names).map(([name, value]) => [value, word(name)]));
}

function dnsAttributes(type: number, answer: number): CodeAttributes {
  const dnsType = DNS_TYPES[type] ?? `TYPE${type}`;
  return answer === 0 ? { dnsType } : { dnsType, errorCode: DNS_ERRORS[answer] ?? `RCODE${answer}` };
}

/** https://www.iana.org/assignments/dns-parameters, Resource Record (RR) TYPEs that are asked for today; others are TYPE with their number (RFC 3597). */
const DNS_TYPES: Readonly<Record<number, string>> = {
  ...{ 1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 12: 'PTR', 13: 'HINFO', 15: 'MX', 16: 'TXT', 17: 'RP', 18: 'AFSDB' },
  ...{ 24: 'SIG', 25: 'KEY', 28: 'AAAA', 29: 'LOC', 33: 'SRV', 35: 'NAPTR', 36: 'KX', 37: 'CERT', 39: 'DNAME' },
  ...{ 42: 'APL', 43: 'DS', 44: 'SSHFP', 45: 'IPSECKEY', 46: 'RRSIG', 47: 'NSEC', 48: 'DNSKEY', 49: 'DHCID' },
  ...{ 50: 'NSEC3', 51: 'NSEC3PARAM', 52: 'TLSA', 53: 'SMIMEA', 55: 'HIP', 59: 'CDS', 60: 'CDNSKEY' },
  ...{ 61: 'OPENPGPKEY', 62: 'CSYNC', 63: 'ZONEMD', 64: 'SVCB', 65: 'HTTPS', 99: 'SPF', 108: 'EUI48', 109: 'EUI64' },
  ...{ 249: 'TKEY', 250: 'TSIG', 251: 'IXFR', 252: 'AXFR', 255: 'ANY', 256: 'URI', 257: 'CAA' },
};

/** The same, DNS RCODEs; their names in the capitals that resolvers print. */
const DNS_ERRORS: Readonly<Record<number, string>> = {
  ...{ 1: 'FORMERR', 2: 'SERVFAIL', 3: 'NXDOMAIN', 4: 'NOTIMP', 5: 'REFUSED', 6: 'YXDOMAIN', 7: 'YXRRSET' },
  ...{ 8: 'NXRRSET', 9: 'NOTAUTH', 10: 'NOTZONE', 11: 'DSOTYPENI', 16: 'BADVERS', 17: 'BADKEY', 18: 'BADTIME' },
  ...{ 19: 'BADMODE', 20: 'BADNAME', 21: 'BADALG', 22: 'BADTRUNC', 23: 'BADCOOKIE' },
};
