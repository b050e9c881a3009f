// When an agent looked at the same thing last, so that the next one can say for how long nobody did: the time of a file. In the file stands the
// path of the scope that is looked at, so that a later agent can tell whether there still is one.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Scope } from './scope.ts';

/** Gone with the boot, as what is noted there should be. */
const STATE_FOLDER = '/run/tributary';
/** Looked through at each start; what is beyond them is looked through once some of them are gone. */
const NOTE_COUNT_MAX = 4_096;
const OF_SCOPE = /^agent-(?:netns|cgroup):(\d+)-.*\.seen$/;
/** What an agent writes in less than a millisecond, unless it is killed. */
const UNFINISHED = /^agent.*\.seen\.next$/;
const UNFINISHED_MS_MAX = 60_000;

/** What is looked at. */
export interface Look {
  /** Without it, the host. */
  scope?: Omit<Scope, 'level'>;
  /** Numbers of namespaces are given out again, names of nodes hardly. */
  node: string;
}

export class LookNote {
  readonly #path: string;
  readonly #scopePath: string;

  /** Removes the notes of scopes that do not exist any more, and those that nobody finishes. */
  constructor({ scope, node }: Look, folder = STATE_FOLDER) {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    const name = scope === undefined ? 'agent' : `agent-${scope.kind}:${scope.inode}-${node}`;
    this.#path = join(folder, `${name.replaceAll('/', '_')}.seen`);
    this.#scopePath = scope?.path ?? '';
    removeNotesOfGone(folder, this.#path);
    removeUnfinished(folder);
  }

  /** Milliseconds since the last look in this boot; 0 when there was none. */
  blindMs(nowMs: number): number {
    const seen = statSync(this.#path, { throwIfNoEntry: false });
    return seen === undefined ? 0 : Math.max(0, Math.round(nowMs - seen.mtimeMs));
  }

  /** Somebody looks now. An agent that starts meanwhile reads the note as a whole, or it would take it for one of a scope that is gone. */
  touch(nowMs: number): void {
    const next = `${this.#path}.next`;
    writeFileSync(next, this.#scopePath);
    utimesSync(next, nowMs / 1000, nowMs / 1000);
    renameSync(next, this.#path);
  }
}

/** What still looks at one of them makes its note anew. `own`: path of the note that stays. */
function removeNotesOfGone(folder: string, own: string): void {
  const names = readdirSync(folder).filter((name) => OF_SCOPE.test(name));
  for (const name of names.slice(0, NOTE_COUNT_MAX)) {
    const path = join(folder, name);
    if (path !== own && isGone(path, Number(name.match(OF_SCOPE)?.[1]))) rmSync(path, { force: true });
  }
}

function removeUnfinished(folder: string): void {
  const names = readdirSync(folder).filter((name) => UNFINISHED.test(name));
  for (const name of names.slice(0, NOTE_COUNT_MAX)) {
    const path = join(folder, name);
    // Not the time that the note tells, which is set.
    const changedMs = statSync(path, { throwIfNoEntry: false })?.ctimeMs ?? Infinity;
    if (Date.now() - changedMs > UNFINISHED_MS_MAX) rmSync(path, { force: true });
  }
}

/** False when nobody can tell: another agent may have removed the note, the path may be closed to this one. */
function isGone(note: string, inode: number): boolean {
  try {
    const path = readFileSync(note, 'utf8');
    return path === '' || statSync(path, { throwIfNoEntry: false })?.ino !== inode;
  } catch {
    return false;
  }
}
