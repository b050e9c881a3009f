// The reference model: what an end is called (docs/architecture.md, step 7).
import type { Process } from '../../host/wire/gen/wire-tables.ts';
import type { Session } from './script.ts';

/** A node, with the texts that tell it from others; `kind`: records.NodeKind. */
export interface Node {
  kind: number;
  id: string;
  role: string;
  zone: string;
  host: string;
  address: string;
  process: string;
  container: string;
  containerName: string;
  image: string;
  /** The program behind a unit or a container; no level shows it as a node. */
  executable: string;
}

const KIND = { container: 1, service: 2, process: 3, host: 4, privateAddress: 5, publicAddress: 6, dnsName: 9 };
export const NOTHING: Node = {
  ...{ kind: 0, id: '', role: '', zone: '', host: '', address: '' },
  ...{ process: '', container: '', containerName: '', image: '', executable: '' },
};

/** An end is named by its container, else its systemd unit, else its process, else its host. */
export function nodeOfOwner(process: Process | undefined, { agent, zone }: Session): Node {
  const host = `host-${agent}`;
  const named = { ...NOTHING, zone, host };
  if (process === undefined) return { ...named, kind: KIND.host, id: host, role: host };
  const executable = process.executable.split('/').at(-1) ?? '';
  const { containerId, containerName = '', image = '', unit } = process;
  if (containerId !== '') {
    const texts = { id: containerId, container: containerId, containerName, image, role: containerName };
    return { ...named, ...texts, kind: KIND.container, executable };
  }
  if (unit !== '') return { ...named, kind: KIND.service, id: `${host}/${unit}`, role: unit, executable };
  return { ...named, kind: KIND.process, id: `${host}/${executable}`, role: executable, process: executable };
}

/** Without an agent an end is what its address was asked for by, else the address. */
export function nodeOfAddress(address: Uint8Array, version: number, name: string): Node {
  const text = printAddress(address, version);
  if (name !== '') return { ...NOTHING, kind: KIND.dnsName, id: name, role: name };
  const isPrivate = version === 4 ? address[12] === 10 : address[0] === 0xfd;
  const [kind, role] = isPrivate ? [KIND.privateAddress, '(private)'] : [KIND.publicAddress, '(internet)'];
  return { ...NOTHING, kind, id: text, address: text, role };
}

/** RFC 5952 of the addresses that the generator uses. */
function printAddress(address: Uint8Array, version: number): string {
  if (version === 4) return address.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((address[2 * index] << 8) | address[2 * index + 1]).toString(16),
  );
  const text = groups.join(':');
  return text.replace(/(^|:)0(:0)+(:|$)/, '::');
}
