// A port for a program that has to be told which one to take.
import { once } from 'node:events';
import { createServer } from 'node:net';

const ATTEMPT_COUNT_MAX = 5;

/**
 * Starts a program on a TCP port of 127.0.0.1 that was free a moment ago, and on another one when somebody has taken it meanwhile: `start` then
 * rejects with what the program says of that.
 */
export async function onFreePort<Program>(start: (port: number) => Promise<Program>): Promise<Program> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await findFreePort());
    } catch (error) {
      if (attempt === ATTEMPT_COUNT_MAX || !String(error).includes('address already in use')) throw error;
    }
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new TypeError('a TCP server has a port');
  return address.port;
}
