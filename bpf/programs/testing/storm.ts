// Short connections over loopback, as many as fit: `storm.ts COUNT`. Prints COUNT when all have ended. Server and clients share a process,
// so that two of these fill two processors.
import { connect, createServer, type Socket } from 'node:net';

const COUNT = Number(process.argv[2]);
const AT_ONCE = 32;

const server = createServer({ allowHalfOpen: false }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.end('answer');
});
let begun = 0;
let ended = 0;

function next(port: number): void {
  if (begun === COUNT) return;
  begun += 1;
  const client: Socket = connect(port, '127.0.0.1');
  client.resume();
  client.on('error', () => client.destroy());
  client.on('close', () => {
    ended += 1;
    if (ended === COUNT) server.close(() => console.log(COUNT));
    next(port);
  });
}

server.listen(0, '127.0.0.1', 4096, () => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  for (let i = 0; i < AT_ONCE; i += 1) next(address.port);
});
