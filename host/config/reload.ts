/**
 * SIGHUP: the file is read again. What can change in a running process changes; what cannot is said, and stays until the next start. A file
 * with anything wrong in it changes none of them; certificates and tokens are files of their own, and are read whatever it says.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { UsageError } from '../lib/usage-error.ts';
import type { Configuration } from './definition.ts';
import type { NamedOption, RoleName } from './option.ts';
import { show } from './show.ts';

/** What is told of an option that has a value. */
export interface ComparedSetting {
  named: Pick<NamedOption, 'key' | 'roles'>;
  /** As the file would have it. */
  given: unknown;
}

/** A configuration as far as it is compared and applied. */
export interface Compared {
  values: Configuration;
  settings: readonly ComparedSetting[];
}

export interface ReloadOptions {
  role: RoleName;
  /** What the process runs with. */
  loaded: Compared;
}

export interface ReloadDependencies {
  /** Throws UsageError, or rejects with one, also when options do not go together. */
  load: () => Compared | Promise<Compared>;
  log: Logger;
  /** By the key of an option: makes its new value count. Options without one need a restart. */
  apply: Readonly<Record<string, (values: Configuration) => void>>;
  /** Whatever is read again each time: certificates. */
  always?: () => Promise<void>;
}

export class Reload {
  readonly #role: RoleName;
  readonly #dependencies: ReloadDependencies;
  /** What counts, by key: after the start, and after each reload what took effect. */
  readonly #current: Map<string, ComparedSetting>;
  readonly #onSignal = (): void => void this.reload();
  readonly #ready = Promise.withResolvers<void>();
  #last: Promise<void> = this.#ready.promise;

  constructor({ role, loaded }: ReloadOptions, dependencies: ReloadDependencies) {
    this.#role = role;
    this.#dependencies = dependencies;
    this.#current = settingsOf(loaded, role);
  }

  /** To be called before anything is started: without a listener the signal would end the process. */
  start(): void {
    process.on('SIGHUP', this.#onSignal);
  }

  /** What there is to change is started. Signals until now are answered now. */
  ready(): void {
    this.#ready.resolve();
  }

  stop(): void {
    process.off('SIGHUP', this.#onSignal);
  }

  /** Once it is ready, one after the other, so that the newest file has the last word. */
  reload(): Promise<void> {
    this.#last = this.#last.then(() => this.#reload());
    return this.#last;
  }

  async #reload(): Promise<void> {
    const { load, log, always } = this.#dependencies;
    try {
      this.#applyAll(await load());
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      log.error({ code: error.code }, `the configuration stays as it was: ${error.message.trim()}`);
    }
    await always?.();
  }

  #applyAll(loaded: Compared): void {
    const wanted = settingsOf(loaded, this.#role);
    const keys = new Set([...this.#current.keys(), ...wanted.keys()]);
    const changed = [...keys].filter(
      (key) => !isDeepStrictEqual(this.#current.get(key)?.given, wanted.get(key)?.given),
    );
    if (changed.length === 0) this.#dependencies.log.info('configuration read again: no option has changed');
    for (const key of changed) this.#applyOne(key, wanted.get(key), loaded.values);
  }

  #applyOne(key: string, setting: ComparedSetting | undefined, values: Configuration): void {
    const { apply, log } = this.#dependencies;
    const before = shown(this.#current.get(key));
    const after = shown(setting);
    if (apply[key] === undefined) {
      log.warn({ key, before, after }, `${key} stays ${before}: ${after} takes effect with a restart`);
      return;
    }
    apply[key](values);
    if (setting === undefined) this.#current.delete(key);
    else this.#current.set(key, setting);
    log.info({ key, before, after }, `${key} is now ${after}, was ${before}`);
  }
}

function settingsOf({ settings }: Compared, role: RoleName): Map<string, ComparedSetting> {
  const ofRole = settings.filter(({ named }) => named.roles.includes(role));
  return new Map(ofRole.map((setting) => [setting.named.key, setting]));
}

function shown(setting: ComparedSetting | undefined): string {
  return setting === undefined ? 'unset' : show(setting.given);
}
