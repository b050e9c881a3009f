// held-sockets-holder.ts CONNECTIONS PERIOD_MS: connects to itself, says `connected`, then sends a byte on each connection every period.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Slices of a period, so that the sockets do not all move at once. */
const SLICES = 100;
const CONNECTING_MAX = 256;

const count = Number(process.argv[2]);
const periodMs = Number(process.argv[3]);
const accepted: Socket[] = [];
const server = createServer((socket) => {
  socket.resume();
  accepted.push(socket);
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
await once(server, 'listening');
const { port } = server.address() as AddressInfo;

const sockets: Socket[] = [];
while (sockets.length < count) {
  const batch = Array.from({ length: Math.min(CONNECTING_MAX, count - sockets.length) }, () =>
    connect({ port, host: '127.0.0.1' }),
  );
  await Promise.all(batch.map((socket) => once(socket, 'connect')));
  sockets.push(...batch);
}
while (accepted.length < count) await sleep(10);
console.log('connected');

for (let slice = 0; ; slice = (slice + 1) % SLICES) {
  const from = Math.floor((slice * count) / SLICES);
  const to = Math.floor(((slice + 1) * count) / SLICES);
  for (let index = from; index < to; index++) sockets[index].write('x');
  await sleep(periodMs / SLICES);
}
