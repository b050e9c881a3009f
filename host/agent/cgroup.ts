// What the path of a control group says: container, pod, systemd unit. One name is parsed by this grammar, first match wins, and what
// follows a complete match does not count:
//
//   name     = [ "kubelet-" ] kubepods / scope / pod / hex64 / task / nomad / lxc / service
//   kubepods = "kubepods" [ "-" qos ] [ "-pod" uid ] [ ".slice" ] [ ":" cri ]
//   scope    = ( "cri-" runtime / "docker" / "crio" / "libpod" / "nerdctl" ) "-" hex64        usually followed by ".scope"
//   pod      = "pod" uid            cgroupfs driver; static pods have a uid of 32 digits
//   task     = hex32 "-" digits     Amazon ECS
//   nomad    = allocation "." task [ ".scope" ]        drivers that make the group themselves: exec, java, raw_exec
//   lxc      = "lxc.payload." name
//   service  = any ending in ".service"

export interface CgroupName {
  qos: string;
  /** 8-4-4-4-12, or "" = none. */
  podUid: string;
  runtime: string;
  containerId: string;
  /** What people call it. */
  containerName: string;
  /** Without its ending. */
  service: string;
}

/** Undefined fields of a match are "". */
const EMPTY: CgroupName = { qos: '', podUid: '', runtime: '', containerId: '', containerName: '', service: '' };

const UID = '[0-9a-fA-F]{8}[-_]?[0-9a-fA-F]{4}[-_]?[0-9a-fA-F]{4}[-_]?[0-9a-fA-F]{4}[-_]?[0-9a-fA-F]{12}';
const HEX64 = '[0-9a-fA-F]{64}';

const GRAMMAR = [
  new RegExp(
    `^(?:kubelet-)?kubepods-(?<qos>guaranteed|besteffort|burstable)(?:-pod(?<uid>${UID})(?:[^:]*:[^:-]*-(?<runtime>[^:]+):(?<id>${HEX64}))?)?`,
  ),
  new RegExp(`^(?:kubelet-)?kubepods-pod(?<uid>${UID})(?:[^:]*:[^:-]*-(?<runtime>[^:]+):(?<id>${HEX64}))?`),
  new RegExp(`^cri-(?<runtime>[^-]+)-(?<id>${HEX64})`),
  new RegExp(`^(?<runtime>docker|crio|libpod|nerdctl)-(?<id>${HEX64})`),
  new RegExp(`^pod(?<uid>${UID})`),
  new RegExp(`^(?<id>${HEX64})`),
  /^(?<id>[0-9a-fA-F]{32}-\d+)$/,
  // Behind a name, what is alike in each run: the allocation is not.
  /^(?<id>[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\.(?<name>.+?))(?:\.scope)?$/,
  /^lxc\.payload\.(?<id>(?<name>.+))$/,
  /^(?<service>.+)\.service$/,
];

/** `name`: one component of a path. Undefined when it says nothing. */
export function parseCgroupName(name: string): CgroupName | undefined {
  for (const rule of GRAMMAR) {
    const groups = rule.exec(name)?.groups;
    if (groups === undefined) continue;
    const { qos = '', uid, runtime = '', id = '', name: containerName = '', service = '' } = groups;
    const podUid = uid === undefined ? '' : canonicalUid(uid);
    return { ...EMPTY, qos, podUid, runtime, containerId: id, containerName, service };
  }
  return undefined;
}

function canonicalUid(uid: string): string {
  return uid.replace(/[-_]/g, '').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export interface CgroupOwner {
  /** systemd unit with its ending, "" = none. */
  unit: string;
  containerId: string;
  containerRuntime: string;
  /** What people call the container, where the path says it. */
  containerName: string;
  /** Of Kubernetes: 8-4-4-4-12, and guaranteed, burstable or besteffort. */
  podUid: string;
  podQos: string;
}

const NOBODY: CgroupOwner = {
  ...{ unit: '', containerId: '', containerRuntime: '', containerName: '' },
  ...{ podUid: '', podQos: '' },
};

/** Parents that tell the runtime of a container whose own name is its id alone. */
const RUNTIME_FOLDERS: Readonly<Record<string, string>> = {
  docker: 'docker',
  ecs: 'docker',
  kubepods: '',
  libpod_parent: 'libpod',
  lxc: 'lxc',
  nomad: 'nomad',
  'nomad.slice': 'nomad',
};

/** Of the cgroupfs driver, which gives pods of the guaranteed class no folder. */
const QOS_FOLDER = /^(?:burstable|besteffort)$/;
/** Of a desktop session (systemd.io/DESKTOP_ENVIRONMENTS): what stands behind the application differs in each run. */
const APPLICATION_SCOPE = /^(app-.+?)(?:-[0-9]+)?\.scope$/;
const USER_MANAGER = /^user@\d+\.service$/;

/** Who runs in the control group at `path`, as /proc/PID/cgroup shows it. The deepest container and the deepest service count. */
export function readCgroupPath(path: string): CgroupOwner {
  const owner: CgroupOwner = { ...NOBODY };
  let folderRuntime = '';
  for (const component of path.split('/')) {
    folderRuntime = RUNTIME_FOLDERS[component] ?? folderRuntime;
    if (QOS_FOLDER.test(component)) owner.podQos = component;
    const name = parseCgroupName(component);
    if (name === undefined) {
      if (USER_MANAGER.test(owner.unit)) owner.unit = unitOfUserScope(component) ?? owner.unit;
      continue;
    }
    if (name.service !== '') owner.unit = component;
    if (name.podUid !== '') owner.podUid = name.podUid;
    if (name.qos !== '') owner.podQos = name.qos;
    if (name.containerId === '') continue;
    owner.containerId = name.containerId;
    owner.containerName = name.containerName;
    owner.containerRuntime = name.runtime || folderRuntime || (component.startsWith('lxc.') ? 'lxc' : '');
  }
  if (owner.podUid === '') owner.podQos = '';
  else owner.podQos ||= 'guaranteed';
  return owner;
}

/** A scope is no work of the manager: what an application began has its name, what a terminal began has none. */
function unitOfUserScope(component: string): string | undefined {
  if (!component.endsWith('.scope') || component === 'init.scope') return undefined;
  const application = APPLICATION_SCOPE.exec(component)?.[1];
  return application === undefined ? '' : `${application}.scope`;
}

/** v1 hierarchies in the order in which their path is believed, after the unified one. */
const HIERARCHIES = ['name=systemd', 'memory', 'pids', 'cpu', 'cpu,cpuacct', 'devices'];

/**
 * The path that says most, of the lines of /proc/PID/cgroup (`hierarchy:controllers:path`): the unified hierarchy (v2), unless only a v1
 * hierarchy knows a container or a unit, as on hybrid hosts.
 */
export function chooseCgroupPath(text: string): string {
  const paths = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    if (match !== null) paths.set(match[1], match[2]);
  }
  const candidates = ['', ...HIERARCHIES].map((hierarchy) => paths.get(hierarchy)).filter((path) => path !== undefined);
  const withContainer = candidates.find((path) => readCgroupPath(path).containerId !== '');
  return withContainer ?? candidates.find((path) => readCgroupPath(path).unit !== '') ?? candidates[0] ?? '';
}
