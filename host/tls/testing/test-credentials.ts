// Certificates for tests: an authority with what a test wants from it, as PEM texts.
import { createAuthority, issueCertificate, type KeyPair, type Purpose } from '../authority.ts';
import type { Credentials } from '../credentials.ts';

const DAY_MS = 86_400_000;

export interface TestCertificateOptions {
  name?: string;
  alternativeNames?: string[];
  purposes?: Purpose[];
  days?: number;
  /** When it was issued, in days from now; a past or future validity. */
  issuedInDays?: number;
}

/** Authorities of tests all have one name, so that only their keys tell them apart. */
export class TestAuthority {
  readonly #root: KeyPair;

  private constructor(root: KeyPair) {
    this.#root = root;
  }

  static async create(): Promise<TestAuthority> {
    const now = new Date(Date.now() - 100 * DAY_MS);
    return new TestAuthority(await createAuthority({ name: 'test authority', days: 1_000, now }));
  }

  get certificate(): string {
    return this.#root.certificate;
  }

  async issue(options: TestCertificateOptions = {}): Promise<Credentials> {
    const { name = 'host.test', alternativeNames = ['127.0.0.1'], purposes = ['client', 'server'] } = options;
    const { days = 365, issuedInDays = 0 } = options;
    const now = new Date(Date.now() + issuedInDays * DAY_MS);
    const { certificate, key } = await issueCertificate(this.#root, { name, alternativeNames, purposes, days, now });
    return { ca: this.#root.certificate, cert: certificate, key };
  }
}
