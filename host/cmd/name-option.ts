import { UsageError } from '../lib/usage-error.ts';

const OF_ADDRESSES = /^TRB_(LISTEN|INSECURE|ADDRESS|API_FOLDER)/;

/** What cannot be listened on is told with the option that asked for it. `key`: as in the configuration file. */
export async function nameOption(key: string, start: Promise<void>): Promise<void> {
  await start.catch((error: unknown) => {
    if (!(error instanceof UsageError) || !OF_ADDRESSES.test(error.code)) throw error;
    throw new UsageError(error.code, `${key}: ${error.message}`);
  });
}
