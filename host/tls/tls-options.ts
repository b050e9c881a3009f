import { UsageError } from '../lib/usage-error.ts';
import type { TlsFiles } from './credentials.ts';

const PARTS = ['ca', 'cert', 'key'] as const;

/** All three files, or none. Throws UsageError when some are missing, or when plaintext was asked for as well. */
export function parseTlsFiles(given: Partial<TlsFiles>, insecure: boolean): TlsFiles | undefined {
  const { ca, cert, key } = given;
  if (ca === undefined && cert === undefined && key === undefined) return undefined;
  if (insecure)
    throw new UsageError('TRB_TLS_INSECURE', 'insecure asks for plaintext and tls.* for TLS: leave one out');
  if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key };
  const missing = PARTS.filter((part) => given[part] === undefined).map((part) => `tls.${part}`);
  throw new UsageError(
    'TRB_TLS',
    `tls.ca, tls.cert and tls.key belong together: ${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} missing`,
  );
}
