import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Elsewhere, type ToAcceptor, type Utterance } from './elsewhere.ts';
import { connectionId } from './messages.ts';

const ID = connectionId(1, 7);
const OTHER = connectionId(1, 8);

const send = (text: string, connection = ID): Utterance => ({ kind: 'send', connection, bytes: Buffer.from(text) });
const close: Utterance = { kind: 'close', connection: ID };

function told(message: ToAcceptor): string {
  return message.kind === 'send' ? String(message.bytes) : message.kind;
}

function start(mayAsk = true): { elsewhere: Elsewhere; relayed: string[] } {
  const relayed: string[] = [];
  const relay = (message: ToAcceptor): void => {
    relayed.push(told(message));
  };
  return { elsewhere: new Elsewhere({ relay, mayAsk: () => mayAsk }), relayed };
}

test('a connection is asked for behind the first that is said on it, and what follows is said where it comes', () => {
  const { elsewhere, relayed } = start();
  for (const utterance of [send('welcome'), send('second'), close]) elsewhere.say(utterance);
  assert.deepEqual(relayed, ['welcome', 'give']);
  assert.deepEqual(elsewhere.given(ID).map(told), ['second', 'close']);
  assert.deepEqual(relayed, ['welcome', 'give']);
  assert.equal(elsewhere.size, 0);
});

test('what waited for a connection that is kept is passed on in order, and so is all that follows, without another question', () => {
  const { elsewhere, relayed } = start();
  elsewhere.say(send('welcome'));
  elsewhere.say(send('second'));
  elsewhere.kept(ID);
  elsewhere.say(send('third'));
  elsewhere.say(close);
  assert.deepEqual(relayed, ['welcome', 'give', 'second', 'third', 'close']);
  assert.equal(elsewhere.size, 1);
  elsewhere.gone(ID);
  assert.equal(elsewhere.size, 0);
});

for (const answer of ['none', 'kept'] as const) {
  test(`of a connection that is gone, ${answer === 'kept' ? 'kept before' : 'not answered yet'}, nothing stays`, () => {
    const { elsewhere, relayed } = start();
    elsewhere.say(send('welcome'));
    elsewhere.say(send('other', OTHER));
    elsewhere.say(send('lost'));
    if (answer === 'kept') elsewhere.kept(ID);
    elsewhere.gone(ID);
    assert.equal(elsewhere.size, 1, 'the other one');
    assert.deepEqual(elsewhere.given(ID), []);
    assert.deepEqual(relayed, ['welcome', 'give', 'other', 'give', ...(answer === 'kept' ? ['lost'] : [])]);
  });
}

test('who only closes a connection does not ask for it, and where nobody can give one nobody is asked', () => {
  const first = start();
  first.elsewhere.say(close);
  assert.deepEqual(first.relayed, ['close']);
  const second = start(false);
  second.elsewhere.say(send('welcome'));
  second.elsewhere.say(send('second'));
  assert.deepEqual(second.relayed, ['welcome', 'second']);
  assert.equal(first.elsewhere.size + second.elsewhere.size, 0);
});
