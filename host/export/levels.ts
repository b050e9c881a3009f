import { Level, NodeKind } from '../wire/gen/records-layout.ts';

/** Spelling of the levels of the tree: client end first. */
export const LEVEL_NAMES = {
  id_id: Level.IdId,
  id_az: Level.IdAz,
  az_id: Level.AzId,
  az_az: Level.AzAz,
  role_az: Level.RoleAz,
  az_role: Level.AzRole,
  role_role: Level.RoleRole,
} as const;

export type LevelName = keyof typeof LEVEL_NAMES;
export type EndLevel = 'id' | 'az' | 'role';

const NAMES = Object.keys(LEVEL_NAMES) as LevelName[];

/** Accepts `az_az` and `az-az`; undefined for anything else. */
export function parseLevel(text: string): LevelName | undefined {
  return NAMES.find((name) => name === text.replace('-', '_'));
}

export function levelName(level: Level): LevelName {
  return NAMES[level];
}

export function endLevels(level: Level): { client: EndLevel; server: EndLevel } {
  const [client, server] = levelName(level).split('_') as [EndLevel, EndLevel];
  return { client, server };
}

const RESOLUTIONS: Record<NodeKind, string> = {
  [NodeKind.None]: 'unknown',
  [NodeKind.Container]: 'container',
  [NodeKind.Service]: 'service',
  [NodeKind.Process]: 'process',
  [NodeKind.Host]: 'host',
  [NodeKind.PrivateAddress]: 'private_address',
  [NodeKind.PublicAddress]: 'public_address',
  [NodeKind.Unknown]: 'unknown',
  [NodeKind.Other]: 'other',
  [NodeKind.DnsName]: 'dns',
};

/** How a node was named, as attribute value. */
export function resolutionOf(kind: NodeKind): string {
  return RESOLUTIONS[kind];
}
