// Lookups from the kernel to a scrape. Truth is what dnsmasq logged, and the answers that the client got.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { test } from 'node:test';
import {
  clientArguments,
  DNSMASQ_ARGUMENTS,
  type Question,
  RecordType,
  readExchanges,
} from '../../bpf/programs/testing/dns-lab.ts';
import { Lab } from './lab.ts';
import { describeSamples, type Sample, scrape, sumOf } from './scrape.ts';
import { waitFor } from './wait.ts';

const METRICS_PORT = 9464;
const LOOKUPS = 'dns_lookup_duration_seconds_count';
const TIMEOUTS = 'tributary_dns_timeout_count_total';
const TRUNCATED = 'tributary_dns_truncated_count_total';

const repeat = (count: number, question: Question): Question[] => Array.from({ length: count }, () => question);

const QUESTIONS: Question[] = [
  ...repeat(20, { name: 'a.test', type: RecordType.A }),
  ...repeat(10, { name: 'A.Test', type: RecordType.Aaaa }),
  ...repeat(3, { name: 'alias.test', type: RecordType.A }),
  ...repeat(5, { name: 'none.test', type: RecordType.A }),
  // Cut, asked again over TCP, and whole with a larger buffer.
  { name: 'large.test', type: RecordType.Txt },
  { name: 'large.test', type: RecordType.Txt, transport: 'tcp' },
  { name: 'large.test', type: RecordType.Txt, ednsBytes: 4096 },
];
const SILENCES = 4;

test('lookups, their answers and their silences are those of the server and the client', async (t) => {
  const lab = new Lab({
    hosts: ['cli', 'srv', 'mute'],
    reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`, '--level', 'role_role'],
    agentArgs: () => ['--dns-names'],
  });
  t.after(() => lab.stop());
  await lab.start();
  const [client, server, mute] = ['cli', 'srv', 'mute'].map((name) => lab.network.host(name));
  let log = '';
  const keep = (program: ChildProcess): void => {
    lab.others.push(program);
    for (const stream of [program.stdout, program.stderr])
      stream?.on('data', (chunk: Buffer) => {
        log += chunk.toString();
      });
  };
  keep(server.spawn('dnsmasq', DNSMASQ_ARGUMENTS, { stdio: ['ignore', 'pipe', 'pipe'] }));
  const silent =
    'import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("", 53)); print("bound", flush=True); time.sleep(600)';
  keep(mute.spawn('python3', ['-c', silent], { stdio: ['ignore', 'pipe', 'pipe'] }));
  const logged = (text: string): Promise<true> =>
    waitFor(() => log.includes(text) || undefined, text, { detail: () => log });
  await logged('started');
  await logged('bound');

  const answers = readExchanges(await client.exec(process.execPath, ...clientArguments(server.v4, QUESTIONS)));
  const silences = repeat(SILENCES, { name: 'a.test', type: RecordType.A, timeoutMs: 50 });
  await client.exec(process.execPath, ...clientArguments(mute.v4, silences));

  let samples: Sample[] = [];
  await waitFor(
    async () => {
      samples = await scrape(lab.island, METRICS_PORT);
      const isAll = ['client', 'server'].every(
        (tributary_side) =>
          sumOf(samples, LOOKUPS, { tributary_side }) >= QUESTIONS.length &&
          sumOf(samples, TIMEOUTS, { tributary_side }) >= SILENCES,
      );
      return isAll || undefined;
    },
    'all lookups and silences',
    { detail: () => describeSamples(samples, /dns_.*(count|total)$/) },
  );

  const codeOf = (answer: string): number => Number.parseInt(answer.slice(6, 8), 16) & 15;
  const isTruncated = (answer: string): boolean => (Number.parseInt(answer.slice(4, 6), 16) & 2) !== 0;
  const count = (matches: (answer: string) => boolean): number =>
    answers.filter(({ answer }) => matches(answer)).length;
  const inLog = (type: string, name: string): number =>
    log.split('\n').filter((line) => line.toLowerCase().includes(`query[${type}] ${name} from`.toLowerCase())).length;
  const questions: [string, string][] = [
    ['A', 'a.test'],
    ['AAAA', 'a.test'],
    ['A', 'alias.test'],
    ['A', 'none.test'],
    ['TXT', 'large.test'],
  ];
  for (const tributary_side of ['client', 'server']) {
    const side = { tributary_side };
    assert.equal(sumOf(samples, LOOKUPS, side), QUESTIONS.length);
    assert.equal(
      sumOf(samples, LOOKUPS, { ...side, error_type: 'NXDOMAIN' }),
      count((answer) => codeOf(answer) === 3),
    );
    assert.equal(
      sumOf(samples, LOOKUPS, { ...side, error_type: '' }),
      count((answer) => codeOf(answer) === 0),
    );
    assert.equal(sumOf(samples, TRUNCATED, side), count(isTruncated));
    assert.equal(sumOf(samples, TIMEOUTS, side), SILENCES);
    for (const [tributary_dns_question_type, dns_question_name] of questions) {
      const labels = { ...side, tributary_dns_question_type, dns_question_name };
      assert.equal(
        sumOf(samples, LOOKUPS, labels),
        inLog(tributary_dns_question_type, dns_question_name),
        JSON.stringify(labels),
      );
    }
  }
  const [asked, answered] = ['client', 'server'].map((tributary_side) =>
    sumOf(samples, 'dns_lookup_duration_seconds_sum', { tributary_side }),
  );
  assert.ok(asked > answered && answered > 0, `the way there and back takes time: ${asked} s, ${answered} s`);
});
