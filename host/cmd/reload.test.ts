// SIGHUP to a real reducer: what it says that has changed, has.
import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';

const MAIN = join(import.meta.dirname, 'main.ts');
const TIMEOUT_MS = 240_000;

class Reducer {
  readonly folder = mkdtempSync(join(tmpdir(), 'tributary-hup-'));
  readonly config = join(this.folder, 'tributary.yaml');
  readonly lines: string[] = [];
  readonly child: ChildProcess;
  readonly #heard: (() => void)[] = [];

  constructor(context: TestContext, yaml: string) {
    writeFileSync(this.config, yaml);
    const sockets = ['--listen', `unix:${this.agents}`, '--api', `unix:${join(this.folder, 'api')}`];
    this.child = spawn(process.execPath, [MAIN, 'reducer', '--config', this.config, ...sockets], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (this.child.stderr === null) throw new Error('standard error is a pipe');
    createInterface(this.child.stderr).on('line', (line) => {
      this.lines.push(line);
      for (const resolve of this.#heard.splice(0)) resolve();
    });
    context.after(() => {
      this.child.kill('SIGKILL');
      rmSync(this.folder, { recursive: true });
    });
  }

  get agents(): string {
    return join(this.folder, 'agents');
  }

  /** The first match in the lines after the first `from` of them. */
  async said(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.lines.slice(from).join('\n'));
      if (found !== null) return found;
      assert.equal(this.child.exitCode, null, `ended before ${pattern}: ${this.lines.join('\n')}`);
      await new Promise<void>((resolve) => this.#heard.push(resolve));
    }
  }

  async reload(yaml: string, says: RegExp): Promise<number> {
    const from = this.lines.length;
    writeFileSync(this.config, yaml);
    this.child.kill('SIGHUP');
    await this.said(says, from);
    return this.lines.length;
  }
}

async function replaySample({ agents }: Reducer): Promise<void> {
  const child = spawn(process.execPath, [MAIN, 'replay', 'sample', '--reducer', `unix:${agents}`], { stdio: 'ignore' });
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
}

async function levelsAt(url: string): Promise<string[]> {
  const text = await (await fetch(url)).text();
  const series = text.matchAll(/^tributary_flow_io_bytes_total\{.*tributary_level="([^"]+)"/gm);
  return [...new Set([...series].map(([, level]) => level))].sort();
}

test('SIGHUP changes the log and the exported levels; a bad file changes nothing; the rest is named', {
  timeout: TIMEOUT_MS,
}, async (context) => {
  const fixed = 'prometheus:\n  listen: 127.0.0.1:0\n';
  const timing = '  workers: 1\n  window: 1s\n  lateness: 1s\n';
  const reducer = new Reducer(context, `${fixed}reducer:\n${timing}`);
  const [, url] = await reducer.said(/"url":"(http:[^"]+)"/);
  await reducer.said(/listening on/);
  await replaySample(reducer);
  while ((await levelsAt(url)).length === 0) await reducer.said(/committed window/, reducer.lines.length);
  assert.deepEqual(await levelsAt(url), ['az_az']);
  assert.doesNotMatch(reducer.lines.join('\n'), /closed window=/);

  await reducer.reload(
    `${fixed}reducer:\n${timing}  level: [id_id]\nlog:\n  level: loud\n`,
    /stays as it was: .*:9:10: log.level: .*loud.* is not one of/,
  );
  assert.deepEqual(await levelsAt(url), ['az_az']);

  const changed = `log:\n  level: debug\n${fixed}reducer:\n${timing.replace('workers: 1', 'workers: 2')}  level: [az_az, id_id]\n`;
  const from = await reducer.reload(changed, /reducer.workers stays 1: 2 takes effect with a restart/);
  await reducer.said(/log.level is now .*"debug/);
  await reducer.said(/closed window=/, from);
  await replaySample(reducer);
  while ((await levelsAt(url)).length === 1) await reducer.said(/committed window/, reducer.lines.length);
  assert.deepEqual(await levelsAt(url), ['az_az', 'id_id']);

  reducer.child.kill('SIGTERM');
  const [code] = await once(reducer.child, 'exit');
  assert.equal(code, 0);
});
