import { Document, isMap, type Scalar, stringify } from 'yaml';
import type { RoleName } from './option.ts';
import type { Setting } from './setting.ts';

/**
 * The values that are in effect, as a file that says the same, each with where it came from. `role`: only what that role reads. Files are
 * named, what is in them is not shown.
 */
export function printConfiguration(settings: readonly Setting[], role: RoleName | undefined): string {
  const document = new Document({});
  for (const { named, given, where } of settings) {
    if (role !== undefined && !named.roles.includes(role)) continue;
    const value: Scalar = document.createNode(given, { flow: true }) as Scalar;
    value.comment = ` ${where}`;
    document.setIn(named.key.split('.'), value);
  }
  return isMap(document.contents) && document.contents.items.length === 0 ? '' : stringify(document, { lineWidth: 0 });
}
