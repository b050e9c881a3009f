import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { Builder } from 'flatbuffers';
import { Announce } from '../host/wire/gen/tributary/wire/announce.js';
import { Process } from '../host/wire/gen/tributary/wire/process.js';
import type { Hello } from '../host/wire/gen/wire-tables.ts';
import { type TableLayout, verifyTable } from '../host/wire/verify-table.ts';
import { upperSnakeCase } from './generator/names.ts';
import type { Table } from './generator/schema.ts';
import { mutate } from './testing/mutate.ts';
import { ProbeReader, writeProbe } from './testing/probe.ts';
import { chooseSeed, Random } from './testing/random.ts';
import { randomTable, type Value } from './testing/values.ts';
import {
  BUILDS,
  type Build,
  closeWorkbench,
  compileAssembly,
  openWorkbench,
  type Workbench,
} from './testing/workbench.ts';

const ROUNDS = 200;
const MUTANTS: Record<Build, number> = { release: 100_000, debug: 10_000 };

interface TablesModule {
  [name: string]: TableLayout | ((value: Value) => Uint8Array) | ((bytes: Uint8Array) => Value);
}

/** The three sides of one table, on the same bytes. */
class TableUnderTest {
  readonly table: Table;
  readonly reader: ProbeReader;
  #module: TablesModule;

  constructor(table: Table, reader: ProbeReader, module: TablesModule) {
    this.table = table;
    this.reader = reader;
    this.#module = module;
  }

  encode(value: Value): Uint8Array {
    return Reflect.apply(this.#function('encode'), undefined, [value]);
  }

  decode(bytes: Uint8Array): Value {
    return Reflect.apply(this.#function('decode'), undefined, [bytes]);
  }

  verifyOnHost(bytes: Uint8Array): boolean {
    const layout = this.#module[`${upperSnakeCase(this.table.name)}_LAYOUT`];
    assert(Array.isArray(layout));
    return verifyTable(bytes, layout);
  }

  verifyInWasm(base: number, length: number): boolean {
    return this.reader.call(`verify${this.table.name}`, base, length) !== 0;
  }

  #function(verb: string): CallableFunction {
    const found = this.#module[`${verb}${this.table.name}`];
    assert(typeof found === 'function');
    return found;
  }
}

const CASES = [
  { path: 'wire.fbs', tables: ['Hello', 'Announce'] },
  { path: 'testing/every-kind.fbs', tables: ['Tree'] },
];

for (const { path, tables } of CASES) {
  const name = path.replace(/^.*\/|\.fbs$/g, '');
  for (const build of Object.keys(BUILDS) as Build[]) {
    describe(`tables of ${name}.fbs (${build})`, () => {
      let workbench: Workbench;
      let underTest: TableUnderTest[];
      before(async () => {
        workbench = await openWorkbench(name, readFileSync(join(import.meta.dirname, path), 'utf8'));
        const module: TablesModule = await import(join(workbench.folder, `host/wire/gen/${name}-tables.ts`));
        const reader = new ProbeReader(
          workbench.schema,
          compileAssembly(workbench, writeProbe(workbench.schema), build),
        );
        const chosen = workbench.schema.tables.filter((table) => tables.includes(table.name));
        underTest = chosen.map((table) => new TableUnderTest(table, reader, module));
      });
      after(() => closeWorkbench(workbench));

      test('what the host encodes is accepted and read alike on both sides', (t) => {
        const random = seeded(t);
        for (const subject of underTest) {
          for (let round = 0; round < ROUNDS; round++) {
            const value = randomTable(workbench.schema, subject.table.name, random);
            const bytes = subject.encode(value);
            assert.equal(bytes.length % 8, 0);
            const base = subject.reader.place(bytes);
            assert(subject.verifyInWasm(base, bytes.length));
            assert.deepEqual(subject.reader.readRoot(subject.table, base), value);
            assert.deepEqual(subject.decode(bytes), value);
          }
        }
      });

      test('no change to a message makes a verifier or a reader leave it, and both sides accept the same', (t) => {
        const random = seeded(t);
        for (const subject of underTest) {
          let accepted = 0;
          let message = new Uint8Array();
          for (let mutant = 0; mutant < MUTANTS[build]; mutant++) {
            if (mutant % 50 === 0)
              message = subject.encode(randomTable(workbench.schema, subject.table.name, random)).slice();
            accepted += acceptAndRead(subject, mutate(message, random)) ? 1 : 0;
          }
          t.diagnostic(`${subject.table.name}: ${accepted} of ${MUTANTS[build]} accepted and read`);
          assert(accepted > 0 && accepted < MUTANTS[build]);
        }
      });

      test('a message that is cut short is refused unless only padding is missing', (t) => {
        const random = seeded(t);
        for (const subject of underTest) {
          const bytes = subject.encode(randomTable(workbench.schema, subject.table.name, random));
          for (let length = 0; length < bytes.length; length++) {
            const isRead = acceptAndRead(subject, bytes.slice(0, length));
            assert.equal(
              isRead && bytes.subarray(length).some((byte) => byte !== 0),
              false,
              `${length} of ${bytes.length} bytes`,
            );
          }
        }
      });
    });
  }
}

function seeded(t: TestContext): Random {
  const seed = chooseSeed();
  t.diagnostic(`seed ${seed}`);
  return new Random(seed);
}

/** False when both sides refuse; reads everything on both sides when they accept. */
function acceptAndRead(subject: TableUnderTest, bytes: Uint8Array): boolean {
  const base = subject.reader.place(bytes);
  const accepted = subject.verifyInWasm(base, bytes.length);
  assert.equal(subject.verifyOnHost(bytes), accepted);
  if (accepted) assert.deepEqual(subject.reader.readRoot(subject.table, base), subject.decode(bytes));
  else assert.equal(subject.decode(bytes), undefined);
  return accepted;
}

const HELLO: Hello = {
  ...{
    protocolVersion: 1,
    peerRole: 0,
    nodeId: 1n,
    bootId: 2n,
    session: 3n,
    incarnation: 0n,
    agentTimeNs: 4n,
    windowNs: 5n,
  },
  firstWindow: 6,
  committedWindow: 0,
  committedClosedWindow: 0,
  nodeName: 'node-1',
  scope: '',
  zone: '',
  addressSpace: 'default',
  agentVersion: '0.1.0',
};

describe('hostile and thrifty senders', () => {
  let workbench: Workbench;
  let reader: ProbeReader;
  before(async () => {
    workbench = await openWorkbench('wire', readFileSync(join(import.meta.dirname, 'wire.fbs'), 'utf8'));
    const source = `${writeProbe(workbench.schema)}\nexport { isUtf8 } from "./lib/flatbuffer-verify";\n`;
    reader = new ProbeReader(workbench.schema, compileAssembly(workbench, source, 'release'));
  });
  after(() => closeWorkbench(workbench));

  /** An Announce of `count` times the same Process, all of whose strings are `text`. */
  function announceOneProcess(count: number, text: string): Uint8Array {
    const builder = new Builder();
    const string = builder.createString(text);
    Process.startProcess(builder);
    const add = [
      Process.addComm,
      Process.addExecutable,
      Process.addUnit,
      Process.addContainerId,
      Process.addContainerRuntime,
      Process.addCgroup,
    ];
    for (const addString of add) addString(builder, string);
    const process = Process.endProcess(builder);
    const processes = Announce.createProcessesVector(
      builder,
      Array.from({ length: count }, () => process),
    );
    Announce.startAnnounce(builder);
    Announce.addProcesses(builder, processes);
    builder.finish(Announce.endAnnounce(builder));
    return builder.asUint8Array().slice();
  }

  async function verdicts(bytes: Uint8Array): Promise<boolean[]> {
    const { decodeAnnounce } = await import('../host/wire/gen/wire-tables.ts');
    const base = reader.place(bytes);
    return [reader.call('verifyAnnounce', base, bytes.length) !== 0, decodeAnnounce(bytes) !== undefined];
  }

  test('a sender may share equal strings', async () => {
    assert.deepEqual(await verdicts(announceOneProcess(1, '')), [true, true]);
  });

  test('a small message that stands for a large one is refused', async () => {
    assert.deepEqual(await verdicts(announceOneProcess(1000, 'x'.repeat(1000))), [false, false]);
  });

  test('an enum value of a later version is kept as it is', async () => {
    const { decodeHello, encodeHello } = await import('../host/wire/gen/wire-tables.ts');
    const bytes = encodeHello({ ...HELLO, peerRole: 250 });
    assert.equal(decodeHello(bytes)?.peerRole, 250);
    const base = reader.place(bytes);
    assert.equal(reader.call('verifyHello', base, bytes.length), 1);
    assert.equal(reader.call('Hello_peer_role', reader.call('Hello_root', base)), 250);
  });

  test('AssemblyScript and Node agree on what UTF-8 is', (t) => {
    const random = seeded(t);
    const telling = [
      0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xef, 0xf0,
      0xf1, 0xf4, 0xf5, 0xff,
    ];
    let valid = 0;
    for (let round = 0; round < 100_000; round++) {
      const bytes = Uint8Array.from({ length: random.below(7) }, () => random.pick(telling));
      const start = reader.place(bytes);
      const expected = isUtf8(bytes);
      assert.equal(reader.call('isUtf8', start, start + bytes.length) !== 0, expected, bytes.toString());
      valid += expected ? 1 : 0;
    }
    assert(valid > 1000);
  });
});
