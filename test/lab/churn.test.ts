// Short connections at a steady rate, long ones among them, for as long as asked: what is open must be what `ss` shows, and nothing may grow.
//
// CHURN_SECONDS (default 60) shortens the test for CI; `npm run test:churn` runs an hour. At each of ten checks the short connections pause,
// and the active count of every host has to become that of `ss` in its namespace.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertActive } from './active.ts';
import { readState } from './agent-state.ts';
import { Lab, type Role } from './lab.ts';
import { Nginx } from './nginx.ts';
import { ShortConnections } from './short-connections.ts';
import { Sockets } from './sockets.ts';
import { waitFor } from './wait.ts';

const SECONDS = Number(process.env.CHURN_SECONDS ?? 60);
const CHECKS = Math.min(10, Math.ceil(SECONDS / 15));
const RATE = 1000;
const LONG_CONNECTIONS = 50;
const WEB_PORT = 8080;
const CLOSED_PORT = 8099;
const LONG_PORT = 7000;
/** Of resident memory from the first half of the checks to the second. In a minute V8's heap is still finding its size. */
const GROWTH_MAX_MIB = SECONDS >= 1800 ? 8 : 64;

interface Size {
  name: string;
  rssMib: number;
}

test(`after ${SECONDS} s of ${RATE} connections a second active equals ss in every namespace, and memory stands still`, async (t) => {
  const lab = new Lab({ hosts: ['cli', 'srv'] });
  t.after(() => lab.stop());
  await lab.start();
  const server = lab.network.host('srv');
  // A thousand connections a second take all ports of a client in half a minute, which is less than they rest in TIME_WAIT.
  const ports = ['net.ipv4.ip_local_port_range=10000 65535', 'net.ipv4.tcp_tw_reuse=1'];
  await lab.network.host('cli').exec('sysctl', '-qw', ...ports);
  new Nginx(lab, 'srv', WEB_PORT);
  const [far, near] = [new Sockets(lab, 'srv'), new Sockets(lab, 'cli')];
  await far.order('listen', LONG_PORT);
  const open: [number, number][] = [];
  const connect = async (): Promise<void> => {
    const own = await near.order('connect', server.v4, LONG_PORT);
    open.push([own, await far.order('accept')]);
  };
  while (open.length < LONG_CONNECTIONS) await connect();

  const sizes: Size[][] = [];
  let connections = 0;
  let refused = 0;
  for (let check = 1; check <= CHECKS; check++) {
    const short = new ShortConnections(
      { host: 'cli', address: server.v4, port: WEB_PORT, closedPort: CLOSED_PORT, ratePerSecond: RATE },
      lab,
    );
    for (let second = 0; second < SECONDS / CHECKS; second++) {
      await sleep(1000);
      await moveLongConnections(second, open, near, far);
    }
    const done = await short.end();
    assert.deepEqual(done.other, {});
    connections += done.connections;
    refused += done.refused;
    // One of the long ones takes another's place.
    const [own, peer] = open.shift() ?? assert.fail();
    await near.order('close', own);
    await far.order('close', peer);
    await connect();
    await assertActive(lab);
    sizes.push(await readSizes(lab));
    t.diagnostic(
      `check ${check}: ${connections} connections, ${sizes
        .at(-1)
        ?.map(({ name, rssMib }) => `${name} ${rssMib.toFixed(0)} MiB`)
        .join(', ')}`,
    );
  }

  assertNoGrowth(sizes, t);
  for (const agent of lab.agents.values()) await assertNothingLeft(agent);
  assert.ok(refused > 0 && connections > (RATE * SECONDS) / 4, `${connections} connections, ${refused} refused`);
});

/** A byte each way on some of them, so that they are told now and then. */
async function moveLongConnections(
  second: number,
  open: [number, number][],
  near: Sockets,
  far: Sockets,
): Promise<void> {
  const [own, peer] = open[second % open.length];
  await near.order('send', own, 1);
  await far.order('receive', peer, 1);
}

async function readSizes(lab: Lab): Promise<Size[]> {
  return [...lab.agents.values(), lab.reducer].map(({ name, process: { pid }, isRunning, log }) => {
    assert.ok(isRunning, `${name} ended:\n${log.slice(-4000)}`);
    const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return { name, rssMib: Number(resident?.[1]) / 1024 };
  });
}

function assertNoGrowth(sizes: Size[][], t: TestContext): void {
  // Tables have their size after the first part; the second half is compared with what came before.
  const half = sizes.length >> 1;
  for (const [index, { name }] of sizes[0].entries()) {
    const before = Math.max(...sizes.slice(0, half).map((each) => each[index].rssMib));
    const after = Math.max(...sizes.slice(half).map((each) => each[index].rssMib));
    t.diagnostic(`${name}: at most ${before.toFixed(1)} MiB in the first half, ${after.toFixed(1)} MiB in the second`);
    assert.ok(after - before <= GROWTH_MAX_MIB, `${name} grew from ${before} to ${after} MiB`);
  }
}

/** What an agent keeps is what is open: nothing of what has closed is left in its tables. */
async function assertNothingLeft(agent: Role): Promise<void> {
  // A connection that has just opened may be told by the next walk.
  let live = '';
  const { core, kernel } = await waitFor(
    async () => {
      const state = await readState(agent);
      live = state.core.socketsLive;
      return Number(live) === LONG_CONNECTIONS ? state : undefined;
    },
    `${agent.name} to have ${LONG_CONNECTIONS} live sockets`,
    { detail: () => live },
  );
  assert.ok(Number(core.socketsClosed) < RATE * 20, `${core.socketsClosed} closed sockets are kept`);
  assert.equal(kernel.statesLost, 0);
}
