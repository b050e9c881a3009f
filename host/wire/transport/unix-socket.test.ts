import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { placeSocket } from './unix-socket.ts';

/** Listens with the shortest queue and never accepts. */
const BUSY = `
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(0)
print("listening", flush=True)
time.sleep(600)
`;

function listenAt(server: Server): (path: string) => Promise<void> {
  return async (path) => {
    server.listen(path);
    await once(server, 'listening');
  };
}

test('the socket of a process that is too busy to answer stays, and is taken once the process has ended', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-socket-'));
  const path = join(folder, 'agents');
  const busy = spawn('python3', ['-c', BUSY, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(busy, 'exit');
  const server = createServer();
  context.after(() => {
    busy.kill('SIGKILL');
    server.close();
    rmSync(folder, { recursive: true });
  });
  await once(busy.stdout, 'data');
  for (let code: string | undefined; code !== 'EAGAIN'; ) {
    const waiting = createConnection({ path });
    context.after(() => waiting.destroy());
    code = await Promise.race([
      once(waiting, 'connect').then(() => undefined),
      once(waiting, 'error').then(([error]) => error.code),
    ]).catch((error: NodeJS.ErrnoException) => error.code);
  }
  const inode = statSync(path).ino;
  await assert.rejects(placeSocket(path, listenAt(server)), /in use|taken|already/);
  assert.equal(statSync(path).ino, inode);
  busy.kill('SIGKILL');
  await ended;
  await placeSocket(path, listenAt(server));
  assert.ok(lstatSync(path).isSocket());
  assert.notEqual(statSync(path).ino, inode);
});
