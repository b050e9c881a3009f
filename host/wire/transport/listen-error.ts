import { UsageError } from '../../lib/usage-error.ts';
import { formatAddress, type ListenAddress } from './address.ts';

/** Why a server does not listen on `address`, said to the user. */
export function listenError(address: ListenAddress, error: NodeJS.ErrnoException): UsageError {
  if (error.code === 'EADDRINUSE') return inUse(address);
  return new UsageError('TRB_LISTEN', `cannot listen on ${formatAddress(address)}: ${error.message}`);
}

export function inUse(address: ListenAddress): UsageError {
  return new UsageError(
    'TRB_LISTEN_IN_USE',
    `${formatAddress(address)} is in use: stop the other process or choose another address`,
  );
}
