import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GoodbyeReason } from './gen/wire-layout.ts';
import type { Hello } from './gen/wire-tables.ts';
import { SessionRegistry } from './session-registry.ts';
import { hello } from './testing/hello.ts';

const INCARNATION = 9n;

function helloOf(session: bigint, changes: Partial<Hello> = {}): Hello {
  return hello({ session, incarnation: INCARNATION, ...changes });
}

function makeRegistry(): SessionRegistry {
  return new SessionRegistry({ incarnation: INCARNATION, sessionCountMax: 3, silenceMs: 25_000 });
}

const OPEN = { kind: 'open', replaces: undefined, succeeds: undefined };
const DUPLICATE = { kind: 'refuse', reason: GoodbyeReason.DuplicateAgent };

test('a session that comes back to its place resumes, and its old connection is replaced when it still stands', () => {
  const registry = makeRegistry();
  assert.deepEqual(registry.arrive(helloOf(5n, { incarnation: 0n }), { connection: 1, place: 0 }, 0), OPEN);
  assert.deepEqual(registry.arrive(helloOf(5n), { connection: 2, place: 0 }, 10), { kind: 'resume', replaces: 1 });
  registry.left(5n, 1, 20);
  assert.deepEqual(
    registry.arrive(helloOf(6n), { connection: 9, place: 0 }, 25),
    DUPLICATE,
    'connection 2 still stands',
  );
  registry.left(5n, 2, 30);
  assert.deepEqual(registry.arrive(helloOf(5n), { connection: 3, place: 0 }, 40), {
    kind: 'resume',
    replaces: undefined,
  });
});

test('a session starts anew at another worker, after another incarnation, and when it asks to', () => {
  const cases = [
    { changes: {}, place: 1 },
    { changes: { incarnation: 8n }, place: 0 },
    { changes: { incarnation: 0n }, place: 0 },
  ];
  for (const { changes, place } of cases) {
    const registry = makeRegistry();
    registry.arrive(helloOf(5n), { connection: 1, place: 0 }, 0);
    assert.deepEqual(registry.arrive(helloOf(5n, changes), { connection: 2, place }, 1), {
      kind: 'open',
      replaces: 1,
      succeeds: 5n,
    });
    assert.equal(registry.sessionCount, 1);
  }
});

test('another session of a live agent is refused until the first is gone or silent', () => {
  const registry = makeRegistry();
  registry.arrive(helloOf(5n), { connection: 1, place: 0 }, 0);
  registry.heard(5n, 10_000);
  assert.deepEqual(registry.arrive(helloOf(6n), { connection: 2, place: 0 }, 34_999), DUPLICATE);
  assert.deepEqual(registry.arrive(helloOf(6n), { connection: 3, place: 0 }, 35_000), {
    kind: 'open',
    replaces: 1,
    succeeds: 5n,
  });
  registry.left(6n, 3, 35_001);
  assert.deepEqual(registry.arrive(helloOf(7n), { connection: 4, place: 1 }, 35_002), {
    kind: 'open',
    replaces: undefined,
    succeeds: 6n,
  });
  assert.equal(registry.sessionCount, 1);
});

test('scopes and boots of one node are agents of their own', () => {
  const registry = makeRegistry();
  assert.deepEqual(registry.arrive(helloOf(5n), { connection: 1, place: 0 }, 0), OPEN);
  assert.deepEqual(registry.arrive(helloOf(6n, { scope: 'netns:1' }), { connection: 2, place: 0 }, 0), OPEN);
  assert.deepEqual(registry.arrive(helloOf(7n, { bootId: 3n }), { connection: 3, place: 0 }, 0), OPEN);
  const fourth = registry.arrive(helloOf(8n, { bootId: 4n }), { connection: 4, place: 0 }, 0);
  assert.deepEqual(fourth, { kind: 'refuse', reason: GoodbyeReason.AgentLimit });
  assert.equal(registry.sessionCount, 3);
});

test('a peer that uses the number of another agent is refused while that one lives, and cannot push out a third', () => {
  const registry = makeRegistry();
  registry.arrive(helloOf(5n), { connection: 1, place: 0 }, 0);
  registry.arrive(helloOf(6n, { nodeId: 2n }), { connection: 2, place: 0 }, 0);
  assert.deepEqual(registry.arrive(helloOf(5n, { nodeId: 3n }), { connection: 3, place: 0 }, 1), DUPLICATE);
  registry.left(5n, 1, 2);
  assert.deepEqual(registry.arrive(helloOf(5n, { nodeId: 2n }), { connection: 4, place: 0 }, 3), DUPLICATE);
  assert.equal(registry.sessionCount, 2);
});

test('a quarantined session is refused for a minute and then starts anew', () => {
  const registry = makeRegistry();
  registry.arrive(helloOf(5n), { connection: 1, place: 0 }, 0);
  registry.quarantine(5n, 100);
  registry.left(5n, 1, 100);
  const refused = { kind: 'refuse', reason: GoodbyeReason.Quarantined };
  assert.deepEqual(registry.arrive(helloOf(5n), { connection: 2, place: 0 }, 60_099), refused);
  assert.deepEqual(registry.arrive(helloOf(5n), { connection: 3, place: 0 }, 60_100), {
    kind: 'open',
    replaces: undefined,
    succeeds: 5n,
  });
});

test('sessions that stay away are listed, and removed ones are forgotten', () => {
  const registry = makeRegistry();
  registry.arrive(helloOf(5n), { connection: 1, place: 0 }, 0);
  registry.left(5n, 1, 100);
  assert.deepEqual(registry.abandoned(599, 500), []);
  assert.deepEqual(registry.abandoned(600, 500), [5n]);
  registry.remove(5n);
  assert.equal(registry.sessionCount, 0);
});
