// No stage has a second implementation in TypeScript: a role whose .wasm file is gone does not start, and says what is missing. Each case runs in a
// folder of its own that shares everything but the modules with this one.
import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildWasm } from '../../host/launch/build-wasm.ts';
import { ROOT } from './sources.ts';

const MODULES = 'wasm-modules/build';
const CASES = [
  { role: 'reducer', missing: 'reducer.wasm', args: ['--listen', '127.0.0.1:0'] },
  { role: 'agent', missing: 'agent.wasm', args: ['--reducer', '127.0.0.1:1'] },
] as const;

const folder = mkdtempSync(join(tmpdir(), 'tributary-missing-'));

before(async () => {
  await buildWasm(undefined, ['release']);
  cpSync(join(ROOT, 'host'), join(folder, 'host'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  mkdirSync(join(folder, MODULES), { recursive: true });
  for (const { missing } of CASES) cpSync(join(ROOT, MODULES, missing), join(folder, MODULES, missing));
  for (const shared of ['node_modules', 'bpf']) symlinkSync(join(ROOT, shared), join(folder, shared));
});
after(() => rmSync(folder, { recursive: true, force: true }));

for (const { role, missing, args } of CASES) {
  test(`tributary ${role} ends with an exit code and names ${missing} and its cure when that file is missing`, () => {
    rmSync(join(folder, MODULES, missing));
    const api = role === 'reducer' ? ['--api', `unix:${join(folder, 'api.sock')}`] : [];
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(folder, 'host/cmd/main.ts'), role, ...args, ...api],
      { encoding: 'utf8', timeout: 20_000 },
    );
    cpSync(join(ROOT, MODULES, missing), join(folder, MODULES, missing));
    assert.equal(status, 1, stdout + stderr);
    assert.match(stdout + stderr, new RegExp(`${missing.replace('.', '\\.')} cannot be used: .*npm run build:wasm`));
    assert.doesNotMatch(stdout + stderr, /"msg":"(listening|connected)/);
  });
}
