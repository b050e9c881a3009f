import { strict as assert } from 'node:assert';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { type Finding, judge } from './findings.ts';
import { HOOK_COSTS, tryHooks } from './hooks.ts';
import { readMachine } from './machine.ts';
import { formatReport, makeReport, type Report } from './report.ts';

const ROOT = join(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'host/cmd/main.ts');
const isRoot = process.getuid?.() === 0;
const asRoot = { skip: isRoot ? undefined : 'loads eBPF programs, which needs root' };

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'doctor-'));
  folders.push(folder);
  return folder;
}

/** A machine is a folder with the files that the kernel would show. */
const GOOD: Readonly<Record<string, string>> = {
  'proc/sys/kernel/osrelease': '6.12.57-cloud-amd64\n',
  'sys/kernel/btf/vmlinux': 'BTF',
  'sys/kernel/security/lockdown': '[none] integrity confidentiality\n',
  'proc/self/status': 'Name:\tnode\nCapEff:\t000001ffffffffff\n',
  'proc/sys/kernel/unprivileged_bpf_disabled': '2\n',
  'proc/self/limits': 'Max locked memory         unlimited            unlimited            bytes\n',
  'proc/sys/net/core/bpf_jit_enable': '1\n',
  'proc/self/mountinfo':
    '22 28 0:21 / /proc rw,nosuid - proc proc rw\n26 24 0:24 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n',
  'sys/devices/system/clocksource/clocksource0/current_clocksource': 'tsc\n',
};
const GOOD_LINKS = { 'proc/self/ns/pid': 'pid:[4026531836]', 'proc/self/ns/cgroup': 'cgroup:[4026531835]' };
const CLOCK = { synchronized: true, maxErrorUs: 1500 };

function makeMachine(files: Record<string, string | undefined>, links: Record<string, string> = {}): string {
  const root = makeFolder();
  for (const [path, text] of Object.entries({ ...GOOD, ...files })) {
    if (text === undefined) continue;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  for (const [path, target] of Object.entries({ ...GOOD_LINKS, ...links })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    symlinkSync(target, join(root, path));
  }
  return root;
}

test('a machine that has everything has no finding but ok', () => {
  const findings = judge(readMachine(makeMachine({})), CLOCK);
  assert.deepEqual(
    findings.filter(({ status }) => status !== 'ok'),
    [],
  );
  assert.equal(findings.find(({ id }) => id === 'clock_synchronization')?.value, 'within 2 ms');
});

const V1 = '30 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n';
const V2 = '31 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n';
const cases: {
  id: string;
  status: Finding['status'];
  value: RegExp;
  files?: Record<string, string | undefined>;
  links?: Record<string, string>;
}[] = [
  { id: 'kernel', status: 'limited', value: /^5\.15/, files: { 'proc/sys/kernel/osrelease': '5.15.0-91-generic\n' } },
  { id: 'btf', status: 'missing', value: /none/, files: { 'sys/kernel/btf/vmlinux': undefined } },
  {
    ...{ id: 'lockdown', status: 'missing', value: /^confidentiality$/ },
    files: { 'sys/kernel/security/lockdown': 'none integrity [confidentiality]\n' },
  },
  // Without capabilities; with CAP_BPF (39) and CAP_PERFMON (38) alone; with CAP_SYS_PTRACE (19) and CAP_DAC_READ_SEARCH (2) too.
  {
    id: 'capabilities',
    status: 'missing',
    value: /^none$/,
    files: { 'proc/self/status': 'CapEff:\t0000000000000000\n' },
  },
  {
    ...{ id: 'capabilities', status: 'limited', value: /^CAP_PERFMON CAP_BPF$/ },
    files: { 'proc/self/status': 'CapEff:\t000000c000000000\n' },
  },
  {
    ...{ id: 'capabilities', status: 'ok', value: /CAP_SYS_PTRACE/ },
    files: { 'proc/self/status': 'CapEff:\t000000c000080004\n' },
  },
  {
    ...{ id: 'unprivileged_bpf', status: 'limited', value: /everybody/ },
    files: { 'proc/sys/kernel/unprivileged_bpf_disabled': '0\n' },
  },
  { id: 'jit', status: 'limited', value: /off/, files: { 'proc/sys/net/core/bpf_jit_enable': '0\n' } },
  { id: 'cgroups', status: 'limited', value: /^hybrid$/, files: { 'proc/self/mountinfo': V1 + V2 } },
  { id: 'cgroups', status: 'limited', value: /^v1$/, files: { 'proc/self/mountinfo': V1 } },
  { id: 'cgroups', status: 'unseen', value: /not visible/, files: { 'proc/self/mountinfo': undefined } },
  { id: 'pid_namespace', status: 'limited', value: /container/, links: { 'proc/self/ns/pid': 'pid:[4026532561]' } },
  {
    id: 'cgroup_namespace',
    status: 'limited',
    value: /container/,
    links: { 'proc/self/ns/cgroup': 'cgroup:[4026532562]' },
  },
  {
    ...{ id: 'process_list', status: 'limited', value: /hidepid/ },
    files: { 'proc/self/mountinfo': '22 28 0:21 / /proc rw - proc proc rw,hidepid=invisible\n' },
  },
  {
    ...{ id: 'clock_source', status: 'limited', value: /^hpet$/ },
    files: { 'sys/devices/system/clocksource/clocksource0/current_clocksource': 'hpet\n' },
  },
];
for (const { id, status, value, files = {}, links } of cases) {
  test(`${id} is ${status} when it reads ${value.source}, and says what to do`, () => {
    const finding = judge(readMachine(makeMachine(files, links)), CLOCK).find((each) => each.id === id);
    assert.equal(finding?.status, status);
    assert.match(finding?.value ?? '', value);
    if (status === 'limited' || status === 'missing') assert.ok(finding?.cost && finding.fix);
  });
}

test('a hook without a backend limits, the required one makes everything useless, and both name the cost', () => {
  const machine = readMachine(makeMachine({}));
  const hooks = (status: 'limited' | 'missing'): Report =>
    makeReport(machine, {
      clock: CLOCK,
      hooks: [{ hook: 'live', status, error: 'iter: EINVAL', cost: HOOK_COSTS.live }],
    });
  assert.equal(hooks('limited').verdict, 'limited');
  assert.equal(hooks('missing').verdict, 'unusable');
  assert.match(formatReport(hooks('limited')), /^limited {2}live +iter: EINVAL\n +costs: after an overload/m);
});

test('the cost of each hook is known', asRoot, async () => {
  const { hooks } = await tryHooks();
  assert.deepEqual(
    hooks.filter(({ hook }) => HOOK_COSTS[hook] === undefined),
    [],
  );
});

test('trying the hooks leaves no descriptor of a program, map or link behind', asRoot, async () => {
  const list = (): string[] =>
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        const target = readlinkSync(`/proc/self/fd/${fd}`);
        return /bpf/.test(target) ? [target] : [];
      } catch {
        return [];
      }
    });
  const { hooks } = await tryHooks();
  assert.ok(hooks.some(({ status }) => status === 'ok'));
  assert.deepEqual(list(), []);
});

test('the doctor writes no file, and its JSON has the documented keys', asRoot, () => {
  const folder = makeFolder();
  const env = { ...process.env, TMPDIR: folder, HOME: folder };
  const run = spawnSync(process.execPath, [MAIN, 'doctor', '--json'], { cwd: folder, env, encoding: 'utf8' });
  const report: Report = JSON.parse(run.stdout);
  assert.equal(run.status, report.verdict === 'unusable' ? 1 : 0);
  assert.deepEqual(
    Object.keys(report).filter((key) => key !== 'obstacle'),
    ['version', 'verdict', 'findings', 'hooks'],
  );
  assert.equal(report.hooks.find(({ hook }) => hook === 'tcp_state')?.backend, 'tp_btf/inet_sock_set_state');
  assert.deepEqual(readdirSync(folder), []);
});

test('without capabilities the doctor says what this process may not do, and ends with 1', asRoot, () => {
  const run = spawnSync('setpriv', ['--bounding-set=-all', process.execPath, MAIN, 'doctor'], { encoding: 'utf8' });
  assert.equal(run.status, 1, run.stderr);
  assert.match(run.stdout, /^missing {2}capabilities +none\n.*\n +fix: run as root, or with CAP_BPF and CAP_PERFMON$/m);
  assert.match(run.stdout, /Nothing can be observed by this process/);
});
