/**
 * Certificates of a running process. Files that change are read again, by themselves or on a signal: new connections use what they say,
 * existing ones go on. Files that cannot be used leave everything as it was, and that is said.
 */
import { stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { type Credentials, expiryOf, loadCredentials, type TlsFiles } from './credentials.ts';

/** Certificates are replaced by renames and by swaps of symbolic links above them, which only a look at the files themselves finds all. */
const POLL_MS = 2_000;
const WARN_BEFORE_MS = 30 * 86_400_000;
const WARN_PERIOD_MS = 86_400_000;

export interface CredentialKeeperOptions {
  files: TlsFiles;
  pollMs?: number;
}

export interface CredentialKeeperDependencies {
  log: Logger;
  /** Unix time, milliseconds: certificates end by the wall clock. */
  now: () => number;
  renewed: (credentials: Credentials) => void;
}

export class CredentialKeeper {
  readonly #options: CredentialKeeperOptions;
  readonly #dependencies: CredentialKeeperDependencies;
  #credentials: Credentials | undefined;
  #expiryMs = Infinity;
  #warnedMs = -Infinity;
  /** Of the files that were read last, whether they could be used or not. */
  #state = '';
  /** The files had changed and were unusable: perhaps one of them was written and the others follow. */
  #isUnsettled = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CredentialKeeperOptions, dependencies: CredentialKeeperDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  get credentials(): Credentials {
    if (this.#credentials === undefined) throw new Error('no certificates were loaded');
    return this.#credentials;
  }

  /** Seconds until this end's certificate expires; negative after that. */
  get secondsToExpiry(): number {
    return Math.round((this.#expiryMs - this.#dependencies.now()) / 1000);
  }

  /** Throws UsageError TRB_TLS when a file cannot be used. */
  async start(): Promise<Credentials> {
    const { files, pollMs = POLL_MS } = this.#options;
    this.#state = await stateOf(files);
    const credentials = await this.#load();
    this.#take(credentials);
    this.#warnOfExpiry();
    this.#timer = setTimeout(() => this.#poll(pollMs), pollMs).unref();
    return credentials;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Reads the files now and says what came of it. */
  async reload(): Promise<void> {
    const state = await stateOf(this.#options.files);
    try {
      if (!this.#renew(await this.#load())) this.#dependencies.log.info('the certificates have not changed');
    } catch (error) {
      this.#reject(error);
    }
    this.#state = state;
    this.#isUnsettled = false;
  }

  async #poll(pollMs: number): Promise<void> {
    this.#warnOfExpiry();
    await this.#look();
    if (this.#timer !== undefined) this.#timer = setTimeout(() => this.#poll(pollMs), pollMs).unref();
  }

  /** A certificate and its key are two files: what does not fit together is looked at once more before anybody is told. */
  async #look(): Promise<void> {
    const state = await stateOf(this.#options.files);
    const hasChanged = state !== this.#state;
    if (!hasChanged && !this.#isUnsettled) return;
    this.#state = state;
    try {
      this.#renew(await this.#load());
      this.#isUnsettled = false;
    } catch (error) {
      this.#isUnsettled = hasChanged;
      if (!hasChanged) this.#reject(error);
    }
  }

  #load(): Promise<Credentials> {
    return loadCredentials(this.#options.files, new Date(this.#dependencies.now()));
  }

  /** False when they are those in use. */
  #renew(credentials: Credentials): boolean {
    const { ca, cert, key } = this.credentials;
    if (credentials.ca === ca && credentials.cert === cert && credentials.key === key) return false;
    this.#take(credentials);
    this.#warnedMs = -Infinity;
    const expires = new Date(this.#expiryMs).toISOString();
    this.#dependencies.log.info({ expires }, 'new certificates are in use for new connections');
    this.#dependencies.renewed(credentials);
    this.#warnOfExpiry();
    return true;
  }

  #reject(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#dependencies.log.error({ reason }, `the new certificates cannot be used, the old ones stay: ${reason}`);
  }

  #take(credentials: Credentials): void {
    this.#credentials = credentials;
    this.#expiryMs = expiryOf(credentials).getTime();
  }

  #warnOfExpiry(): void {
    const { log, now } = this.#dependencies;
    const leftMs = this.#expiryMs - now();
    if (leftMs > WARN_BEFORE_MS || now() - this.#warnedMs < WARN_PERIOD_MS) return;
    this.#warnedMs = now();
    const expires = new Date(this.#expiryMs).toISOString();
    const when = leftMs <= 0 ? 'has expired' : `expires in ${Math.floor(leftMs / 86_400_000)} days`;
    log.warn({ expires }, `the certificate ${this.#options.files.cert} ${when}: issue a new one in its place`);
  }
}

/** Changes with any of the files, also behind a symbolic link. A file that is not there is a state, too. */
async function stateOf({ ca, cert, key }: TlsFiles): Promise<string> {
  const states = await Promise.all(
    [ca, cert, key].map((path) =>
      stat(path, { bigint: true }).then(
        ({ dev, ino, mtimeNs, ctimeNs, size }) => `${dev}:${ino}:${mtimeNs}:${ctimeNs}:${size}`,
        (error: NodeJS.ErrnoException) => String(error.code),
      ),
    ),
  );
  return states.join(' ');
}
