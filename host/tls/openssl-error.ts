/** As Node throws them: `reason` only with a code ERR_SSL_*. */
export type TlsError = NodeJS.ErrnoException & { reason?: string };

/**
 * ERR_SSL_* for whatever OpenSSL reports. The same failure is an EPROTO with OpenSSL's line in the message when Node meets it while it
 * writes. Other errors keep their code.
 */
export function codeOf(error: TlsError | undefined): string {
  if (error?.code !== 'EPROTO') return error?.code ?? '';
  const reason = reasonOf(error);
  return reason === '' ? 'EPROTO' : `ERR_SSL_${reason.toUpperCase().replaceAll(' ', '_')}`;
}

/** OpenSSL's reason in a few words, without its source lines; empty for other errors. */
export function reasonOf(error: TlsError): string {
  return error.reason ?? /:SSL routines:[^:]*:([^:]+):/.exec(error.message)?.[1] ?? '';
}
