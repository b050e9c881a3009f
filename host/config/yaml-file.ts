// The configuration file: YAML 1.2, sections of options. Every problem is told with its line and column.
import { closeSync, openSync, readSync } from 'node:fs';
import { isMap, isScalar, LineCounter, type Node, type Pair, parseDocument, type YAMLMap } from 'yaml';
import { OPTIONS, TREE } from './definition.ts';
import { isOption, kebabCase, type NamedOption } from './option.ts';
import { ConfigurationError, type Problem, suggest } from './problem.ts';
import type { Given, Setting } from './setting.ts';
import { show } from './show.ts';

const FILE_BYTES_MAX = 1 << 20;
const BY_KEY: ReadonlyMap<string, NamedOption> = new Map(OPTIONS.map((named) => [named.key, named]));
const SECTIONS = Object.entries(TREE)
  .filter(([, node]) => !isOption(node))
  .map(([name]) => kebabCase(name));
const KNOWN_KEYS = [...SECTIONS, ...BY_KEY.keys()];

/** `namedBy`: what made this the file, for when it cannot be read. Throws ConfigurationError then. */
export function readConfigurationFile(path: string, namedBy: string): Given {
  try {
    const bytes = readAtMost(path, FILE_BYTES_MAX + 1);
    if (bytes.length <= FILE_BYTES_MAX) return readConfigurationText(path, bytes.toString());
    throw new ConfigurationError([{ where: path, what: `has more than ${FILE_BYTES_MAX} bytes` }]);
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    throw new ConfigurationError([{ where: `${namedBy} ${path}`, what: explain(error) }]);
  }
}

/** The path may name a pipe or a device, whose length nobody knows. */
function readAtMost(path: string, bytesMax: number): Buffer {
  const bytes = Buffer.alloc(bytesMax);
  const file = openSync(path, 'r');
  try {
    let length = 0;
    for (let read = -1; read !== 0 && length < bytesMax; length += read)
      read = readSync(file, bytes, length, bytesMax - length, null);
    return bytes.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

export function readConfigurationText(path: string, text: string): Given {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const broken = [...document.errors, ...document.warnings].map(({ pos, code, message }) => ({
    where: at(pos[0]),
    what:
      code === 'MULTIPLE_DOCS'
        ? 'begins a second document; a configuration is one, without a line of ---'
        : `is not YAML: ${message.split('\n')[0]}`,
  }));
  if (broken.length > 0) return { settings: [], problems: broken };
  const { contents } = document;
  // A file of comments alone.
  if (contents === null || (isScalar(contents) && contents.value === null)) return { settings: [], problems: [] };
  if (!isMap(contents))
    return { settings: [], problems: [{ where: at(0), what: `has to hold sections: ${SECTIONS.join(', ')}` }] };
  const toJs = (node: Node): unknown => {
    try {
      return node.toJS(document);
    } catch (error) {
      // An alias without its anchor, or too many of them.
      throw new ConfigurationError([{ where: at(offsetOf(node)), what: explain(error) }]);
    }
  };
  const reader = new SectionReader(at, toJs);
  reader.readTop(contents);
  return reader;
}

class SectionReader implements Given {
  readonly settings: Setting[] = [];
  readonly problems: Problem[] = [];
  readonly #at: (offset: number) => string;
  readonly #toJs: (node: Node) => unknown;

  constructor(at: (offset: number) => string, toJs: (node: Node) => unknown) {
    this.#at = at;
    this.#toJs = toJs;
  }

  readTop(map: YAMLMap): void {
    for (const pair of map.items as Pair<Node, Node | null>[]) {
      const name = String(this.#toJs(pair.key));
      if (SECTIONS.includes(name)) this.#readSection(name, pair);
      else this.#readOption(name, pair);
    }
  }

  #readSection(name: string, { key, value }: Pair<Node, Node | null>): void {
    if (value === null || (isScalar(value) && value.value === null)) return;
    if (!isMap(value)) {
      this.#refuse(key, name, `${show(this.#toJs(value))} is not a section of options`);
      return;
    }
    for (const pair of value.items as Pair<Node, Node | null>[])
      this.#readOption(`${name}.${String(this.#toJs(pair.key))}`, pair);
  }

  #readOption(name: string, { key, value }: Pair<Node, Node | null>): void {
    const named = BY_KEY.get(name);
    const given = value === null ? null : this.#toJs(value);
    if (named === undefined) {
      this.#refuse(key, name, `is no option${suggest(name, KNOWN_KEYS)}`);
    } else if (given === null) {
      this.#refuse(key, name, `has no value; leave it out, or give ${named.option.kind.allowed}`);
    } else {
      const offset = offsetOf(value ?? key);
      this.settings.push({ named, given, source: 'file', where: this.#at(offset), offset });
    }
  }

  #refuse(key: Node, name: string, what: string): void {
    const offset = offsetOf(key);
    this.problems.push({ where: `${this.#at(offset)}: ${name}`, what, offset });
  }
}

function offsetOf(node: Node): number {
  return node.range?.[0] ?? 0;
}

function explain(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'this user may not read it';
  if (code === 'EISDIR') return 'is a folder, not a file';
  return message;
}
