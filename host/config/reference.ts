// The tables of options in docs/configuration.md.
import { OPTIONS, TREE } from './definition.ts';
import { isOption, kebabCase, type NamedOption, ROLE_NAMES } from './option.ts';

const BEGIN = '<!-- options: written by npm run generate from host/config/definition.ts, do not edit -->';
const END = '<!-- end of options -->';

/** The page with its tables as the definition has them. Throws when the marks are not there. */
export function writeConfigurationPage(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/configuration.md has to hold "${BEGIN}" and "${END}"`);
  return `${page.slice(0, begin)}${BEGIN}\n\n${tables()}\n${page.slice(end)}`;
}

function tables(): string {
  const roles = ROLE_NAMES.map((role) =>
    table(
      `\`${role}:\``,
      OPTIONS.filter(({ path }) => path[0] === role),
    ),
  );
  const isOfRole = (name: string): boolean => ROLE_NAMES.some((role) => role === name);
  const shared = Object.entries(TREE)
    .filter(([name]) => !isOfRole(name))
    .map(([name, node]) =>
      table(
        isOption(node) ? `\`${kebabCase(name)}\`` : `\`${kebabCase(name)}:\``,
        OPTIONS.filter(({ path }) => path[0] === name),
      ),
    );
  return [...roles, ...shared].join('\n');
}

function table(title: string, options: readonly NamedOption[]): string {
  return [
    `### ${title}`,
    '',
    '| key, flag, variable | value | default | is |',
    '|---|---|---|---|',
    ...options.map(row),
    '',
  ].join('\n');
}

function row({ key, flag, variable, roles, path, option }: NamedOption): string {
  const { kind, description, default: value, otherwise } = option;
  const readers = roles.length === 1 && roles[0] === path[0] ? '' : ` (${roles.join(', ')})`;
  const shown = otherwise ?? (value === undefined ? '' : `\`${JSON.stringify(value).replaceAll('"', '')}\``);
  const cells = [`\`${key}\` \`--${flag}\` \`${variable}\``, kind.allowed, shown, `${description}${readers}`];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
