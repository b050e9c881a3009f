// What an agent tells of its machine, through the reducer to the API and a scrape, against what `tributary doctor` finds there.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { AgentsAnswer } from '../../host/api/edge-answer.ts';
import type { Report } from '../../host/doctor/report.ts';
import { Lab } from './lab.ts';
import { waitFor } from './wait.ts';

const MAIN = fileURLToPath(new URL('../../host/cmd/main.ts', import.meta.url));
const METRICS_PORT = 9465;
const skip = process.getuid?.() === 0 ? undefined : 'the agent loads eBPF programs, which needs root';
/** How well the clock is synchronized differs from one second to the next. */
const MOVING = 'clock_synchronization';

describe('the facts of an agent', { skip, concurrency: false }, () => {
  const lab = new Lab({ hosts: ['web'], reducerArgs: ['--prometheus-listen', `127.0.0.1:${METRICS_PORT}`] });
  let report: Report;

  before(async () => {
    await lab.start();
    // Where the agent runs: the JIT's switch is seen in the first network namespace alone.
    report = JSON.parse(await lab.island.exec(process.execPath, MAIN, 'doctor', '--json'));
  });
  after(() => lab.stop());

  const agents = async (): Promise<AgentsAnswer> =>
    JSON.parse(await lab.island.exec('curl', '-sS', '--unix-socket', lab.apiPath, 'http://api/api/v1/agents'));

  test('are those of the doctor: every finding and every hook', async () => {
    const { agents: told } = await agents();
    assert.deepEqual(
      told.map(({ node, connected }) => [node, connected]),
      [['web', true]],
    );
    const [{ findings, hooks }] = told;
    const steady = <T extends { id: string }>(list: readonly T[]): T[] => list.filter(({ id }) => id !== MOVING);
    assert.deepEqual(
      steady(findings),
      steady(report.findings).map(({ id, status, value }) => ({ id, status, value })),
    );
    assert.ok(findings.some(({ id }) => id === MOVING));
    assert.deepEqual(
      hooks.map(({ hook, backend }) => [hook, backend]),
      report.hooks.map(({ hook, backend = null }) => [hook, backend]),
    );
  });

  test('its last window follows the time', async () => {
    const first = await waitFor(async () => (await agents()).agents[0].lastWindow ?? undefined, 'a first window');
    await waitFor(async () => {
      const [{ lastWindow, lagWindows }] = (await agents()).agents;
      return lastWindow !== null && lastWindow > first && lagWindows === 0 ? true : undefined;
    }, 'a later window, told in time');
  });

  test('are scraped, one series for each hook', async () => {
    const page = await lab.island.exec('curl', '-sS', `http://127.0.0.1:${METRICS_PORT}/metrics`);
    const text = page.replaceAll(/^(?!tributary_agent_).*\n/gm, '');
    const kernel = report.findings.find(({ id }) => id === 'kernel')?.value;
    assert.match(text, new RegExp(`^tributary_agent_info\\{.*host_name="web".*os_version="${kernel}".*\\} 1$`, 'm'));
    const hooks = [...text.matchAll(/^tributary_agent_hook_state\{.*tributary_hook="(\w+)".*\} ([01])$/gm)];
    assert.deepEqual(
      hooks.map(([, hook, state]) => [hook, state]),
      report.hooks.map(({ hook, status }) => [hook, status === 'ok' ? '1' : '0']),
    );
  });

  test('an agent that says goodbye is not listed any more', async () => {
    await lab.agents.get('web')?.kill('SIGTERM');
    await waitFor(async () => ((await agents()).agents.length === 0 ? true : undefined), 'an empty list');
  });
});
