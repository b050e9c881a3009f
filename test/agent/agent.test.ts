// `tributary agent` as a user runs it, on real traffic in a namespace, with its recording read back.
import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Host, Lab, waitFor } from '../../bpf/programs/testing/lab.ts';
import { LedgerModel } from '../../host/agent/testing/ledger-model.ts';
import type { Payload } from '../../host/wire/channel-sender.ts';
import { CloseReason } from '../../host/wire/gen/kernel-events-layout.ts';
import { FrameKind } from '../../host/wire/gen/wire-layout.ts';
import { decodeAnnounce, type Hello } from '../../host/wire/gen/wire-tables.ts';
import { RecordingReader } from '../../host/wire/recording-reader.ts';
import '../../host/agent/testing/modules.ts';

const MAIN = join(import.meta.dirname, '../../host/cmd/main.ts');
/** What a user may wait after Ctrl-C; where the machine is so busy that the start took longer, as long as that, twice this at most. */
const STOP_MS_MAX = 5_000;

const lab = new Lab();
const folder = mkdtempSync(join(tmpdir(), 'agent-'));
const notes: string[] = [];
after(() => {
  lab.close();
  for (const note of notes) rmSync(note, { force: true });
  rmSync(folder, { recursive: true });
});

class AgentProcess {
  readonly #startMs = performance.now();
  #readyMs: number | undefined;
  readonly process: ChildProcess;
  log = '';

  constructor({ name, netns }: Host, ...args: string[]) {
    notes.push(`/run/tributary/agent-netns:${netns}-${name}.seen`);
    this.process = spawn(process.execPath, [MAIN, 'agent', '--scope', `netns=/run/netns/${name}`, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
      });
    }
  }

  async logged(text: string): Promise<void> {
    await waitFor(`${text}\n${this.log}`, () => this.log.includes(text));
    this.#readyMs ??= performance.now() - this.#startMs;
  }

  /** Its exit code; rejects when it takes longer than a user would wait. */
  async stop(): Promise<number> {
    const started = performance.now();
    this.process.kill('SIGTERM');
    const [code] = await once(this.process, 'exit');
    const stopMs = performance.now() - started;
    const limitMs = Math.min(Math.max(STOP_MS_MAX, this.#readyMs ?? 0), 2 * STOP_MS_MAX);
    assert(stopMs < limitMs, `${stopMs} ms, ready after ${this.#readyMs} ms`);
    return code;
  }
}

async function readRecording(path: string): Promise<{ hello: Hello; windows: Payload[][] }> {
  const { reader, hello } = await RecordingReader.open(path);
  const windows: Payload[][] = [[]];
  for await (const frames of reader.batches()) {
    for (const { kind, payload } of frames) {
      windows[windows.length - 1].push({ kind, payload });
      if (kind === FrameKind.WindowEnd || kind === FrameKind.SnapshotEnd) windows.push([]);
    }
  }
  assert.deepEqual(windows.pop(), []);
  return { hello, windows };
}

for (const ending of ['rec', 'rec.zst']) {
  test(`what happened in the namespace is in the recording (.${ending})`, async () => {
    const host = lab.host(ending === 'rec' ? 'a' : 'z');
    host.ip('address', 'add', '10.99.7.1/24', 'dev', 'lo');
    const peer = host.peer();
    const port = await peer.listen({ host: '10.99.7.1' });
    const old = await peer.connect({ host: '10.99.7.1', port });
    const path = join(folder, `a.${ending}`);
    const agent = new AgentProcess(host, '--output', `file:${path}`, '--window', '200ms', '--zone', 'z1');
    await agent.logged('looking');

    const sent = [100, 20_000, 3_000_000];
    await peer.send(old, sent[0]);
    const short = await peer.connect({ host: '10.99.7.1', port });
    await peer.send(short, sent[1]);
    await peer.close(short);
    const long = await peer.connect({ host: '10.99.7.1', port });
    await peer.send(long, sent[2]);
    const error = await peer.connectError({ host: '127.0.0.1', port: 9 });
    assert.equal(error, 'ECONNREFUSED');
    const [, , third] = [await peer.accept(), await peer.accept(), await peer.accept()];
    await peer.receive(third, sent[2]);
    assert.equal(await agent.stop(), 0, agent.log);
    peer.process.kill();

    const { hello, windows } = await readRecording(path);
    assert.deepEqual(
      [hello.nodeName, hello.zone, hello.scope, hello.windowNs],
      [host.name, 'z1', `netns:${host.netns}`, 200_000_000n],
    );
    const ledger = new LedgerModel();
    for (const window of windows) ledger.receive(window);
    ledger.commit(0xffff_ffff);
    assert.equal(ledger.exported.connections, 4);
    assert.deepEqual(ledger.exported.failures, new Map([[CloseReason.ConnectRefused, 1]]));
    const total = BigInt(sent[0] + sent[1] + sent[2]);
    assert.deepEqual([ledger.exported.bytesSent, ledger.exported.bytesReceived], [total, total]);

    const announces = windows
      .flat()
      .flatMap(({ kind, payload }) => (kind === FrameKind.Announce ? [decodeAnnounce(payload)] : []));
    const executables = new Set(
      announces.flatMap((announce) => announce?.processes ?? []).map((process) => process.executable),
    );
    assert.deepEqual([...executables], [realpathSync(process.execPath)]);
    const addresses = announces
      .flatMap((announce) => announce?.hostAddresses ?? [])
      .map(({ address }) => Buffer.from(address).toString('hex'));
    assert(addresses.includes('00000000000000000000ffff0a630701'));
  });
}

test('without a reducer the agent keeps looking, and stops when it is told to', async () => {
  const agent = new AgentProcess(
    lab.host('n'),
    '--reducer',
    `unix:${join(folder, 'nobody.sock')}`,
    '--window',
    '200ms',
  );
  await agent.logged('connection lost: closed');
  assert.equal(await agent.stop(), 0, agent.log);
});

test('a reducer that never answers keeps nobody from stopping', async () => {
  const path = join(folder, 'silent.sock');
  const server = createServer((connection) => connection.on('error', () => {}).resume()).listen(path);
  await once(server, 'listening');
  const agent = new AgentProcess(lab.host('s'), '--reducer', `unix:${path}`, '--window', '200ms');
  await agent.logged('looking');
  assert.equal(await agent.stop(), 0, agent.log);
  server.close();
});

test('a second agent of one namespace is told so, with exit code 2', async () => {
  const host = lab.host('d');
  const path = join(folder, 'first.rec');
  const first = new AgentProcess(host, '--output', `file:${path}`);
  await first.logged('looking');
  const second = new AgentProcess(host, '--output', `file:${join(folder, 'second.rec')}`);
  const [code] = await once(second.process, 'exit');
  assert.equal(code, 2, second.log);
  assert.match(second.log, /another agent looks at the scope netns:\d+: stop it first \(TRB_AGENT_RUNS\)/);
  assert(!existsSync(join(folder, 'second.rec')));
  assert.equal(await first.stop(), 0);
});

test('a recording that cannot be written ends the agent with a sentence', async () => {
  const agent = new AgentProcess(lab.host('w'), '--output', 'file:/dev/full', '--window', '200ms');
  const [code] = await once(agent.process, 'exit');
  assert.equal(code, 1, agent.log);
  assert.match(agent.log, /ENOSPC/);
});

test('SIGHUP reads the configuration again, in a process of its own each time', async () => {
  const config = join(folder, 'tributary.yaml');
  writeFileSync(config, 'log:\n  level: info\n');
  const agent = new AgentProcess(lab.host('h'), '--config', config, '--output', `file:${join(folder, 'h.rec')}`);
  await agent.logged('looking');
  writeFileSync(config, 'log:\n  level: loud\n');
  agent.process.kill('SIGHUP');
  await agent.logged('the configuration stays as it was: ');
  await agent.logged('TRB_CONFIG');
  writeFileSync(config, 'log:\n  level: debug\nagent:\n  window: 2s\n');
  agent.process.kill('SIGHUP');
  await agent.logged('log.level is now \\"debug\\", was \\"info\\"');
  await agent.logged('agent.window stays \\"10s\\"');
  assert.equal(await agent.stop(), 0);
});
