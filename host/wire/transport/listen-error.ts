import { UsageError } from '../../lib/usage-error.ts';
import { formatAddress, type ListenAddress } from './address.ts';

/** Why a server does not listen on `address`, said to the user. */
export function listenError(address: ListenAddress, error: NodeJS.ErrnoException): UsageError {
  if (error.code === 'EADDRINUSE') return inUse(address);
  return new UsageError('TRB_LISTEN', `cannot listen on ${formatAddress(address)}: ${reasonOf(address, error)}`);
}

function reasonOf(address: ListenAddress, { code, message }: NodeJS.ErrnoException): string {
  const isSocket = 'path' in address;
  if (code === 'EACCES' && isSocket) return 'this user may not write to that folder; choose another path';
  if (code === 'EACCES') return 'this user may not use that port; take one above 1023, or run this as root';
  if (code === 'EADDRNOTAVAIL') return 'no interface of this host has that address; :PORT means all of them';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'there is no host of that name; use an address of this host';
  if (code === 'ENOENT' && isSocket) return 'there is no such folder; make it, or choose another path';
  return message;
}

export function inUse(address: ListenAddress): UsageError {
  return new UsageError(
    'TRB_LISTEN_IN_USE',
    `${formatAddress(address)} is in use: stop the other process or choose another address`,
  );
}
