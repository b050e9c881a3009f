// A dnsmasq in one host, and questions from another.
import { join } from 'node:path';
import type { Exchange } from './dns-client.ts';
import { type Host, type Program, waitFor } from './lab.ts';

const CLIENT = join(import.meta.dirname, 'dns-client.ts');

export const RecordType = { A: 1, Cname: 5, Txt: 16, Aaaa: 28 } as const;

/** Texts of 250 bytes: an answer of `count` of them has about 260 bytes for each. */
const texts = (count: number): string => Array.from({ length: count }, () => 'x'.repeat(250)).join(',');

export interface Question {
  name: string;
  type: number;
  transport?: 'udp' | 'tcp';
  /** Of the buffer that the client offers; 0, the default: no EDNS. */
  ednsBytes?: number;
  timeoutMs?: number;
}

/** Listens on every address of its host, knows names under `test` only, of records that follow, and logs each question. */
export const DNSMASQ_SETTINGS = [
  ...['--no-daemon', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--log-queries', '--log-facility=-'],
  ...['--user=root', '--pid-file=', '--edns-packet-max=4096', '--local=/test/'],
];
export const DNSMASQ_ARGUMENTS = [
  ...DNSMASQ_SETTINGS,
  ...['--host-record=a.test,10.1.2.3,fd00::3', '--cname=alias.test,a.test'],
  ...[`--txt-record=medium.test,${texts(1)}`, `--txt-record=large.test,${texts(14)}`],
];

export class DnsServer {
  readonly #program: Program;

  private constructor(program: Program) {
    this.#program = program;
  }

  static async start(host: Host): Promise<DnsServer> {
    const program = host.start('dnsmasq', ...DNSMASQ_ARGUMENTS);
    await waitFor('dnsmasq', () => program.output.includes('started'));
    return new DnsServer(program);
  }

  /** The questions that it logged, of one type and name. */
  countQueries(typeName: string, name: string): number {
    return this.#program.output.split('\n').filter((line) => line.includes(`query[${typeName}] ${name} from`)).length;
  }

  stop(): void {
    this.#program.kill();
  }
}

/** Arguments with which Node asks one question after the other. */
export function clientArguments(server: string, questions: readonly Question[]): string[] {
  const parameters = questions.map(({ name, type, transport = 'udp', ednsBytes = 0, timeoutMs = 30_000 }) =>
    [server, name, type, transport, ednsBytes, timeoutMs].join(' '),
  );
  return [CLIENT, ...parameters];
}

/** What such a run of Node printed. */
export function readExchanges(output: string): Exchange[] {
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

export function ask(host: Host, server: string, questions: readonly Question[]): Exchange[] {
  return readExchanges(host.run(process.execPath, ...clientArguments(server, questions)));
}
