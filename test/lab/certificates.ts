// Certificates of the hosts of a lab, in files that are replaced as an operator or a secret store replaces them.
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Credentials } from '../../host/tls/credentials.ts';

const PARTS = ['ca', 'cert', 'key'] as const;

export class CertificateFolder {
  readonly #folder = mkdtempSync(join(tmpdir(), 'tributary-lab-tls-'));

  path(host: string, part: (typeof PARTS)[number]): string {
    return join(this.#folder, host, `${part}.pem`);
  }

  /** By a rename for each file: who looks in between sees files that do not fit together. */
  write(host: string, credentials: Credentials): void {
    mkdirSync(join(this.#folder, host), { recursive: true });
    for (const part of PARTS) {
      const path = this.path(host, part);
      writeFileSync(`${path}.new`, credentials[part], { mode: 0o600 });
      renameSync(`${path}.new`, path);
    }
  }

  flags(host: string): string[] {
    return PARTS.flatMap((part) => [`--tls-${part}`, this.path(host, part)]);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
