// Run inside a lab host: opens short connections at a steady rate until its time is over or SIGTERM comes, then prints what it did as JSON.
//   node short-connections-client.ts ADDRESS PORT CLOSED_PORT RATE [SECONDS]
// Each connection is one HTTP/1.0 request. Every twentieth attempt goes to CLOSED_PORT, where nobody listens.
import { once } from 'node:events';
import { connect } from 'node:net';
import type { ShortConnectionsReport } from './short-connections.ts';

const REFUSED_SHARE = 20;

async function request(address: string, port: number): Promise<void> {
  const socket = connect({ host: address, port });
  socket.end('GET / HTTP/1.0\r\n\r\n');
  socket.resume();
  await once(socket, 'close');
}

async function main(address: string, port: number, closedPort: number, rate: number, seconds: number): Promise<void> {
  const report: ShortConnectionsReport = { connections: 0, refused: 0, other: {} };
  const startMs = performance.now();
  const running = new Set<Promise<void>>();
  let isOver = false;
  process.once('SIGTERM', () => {
    isOver = true;
  });
  for (let attempt = 0; attempt < rate * seconds && !isOver; attempt++) {
    const dueMs = startMs + (attempt * 1000) / rate;
    const waitMs = dueMs - performance.now();
    if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const isRefused = attempt % REFUSED_SHARE === 0;
    const one = request(address, isRefused ? closedPort : port).then(
      () => {
        report.connections++;
      },
      ({ code = 'unknown' }: NodeJS.ErrnoException) => {
        if (code === 'ECONNREFUSED') report.refused++;
        else report.other[code] = (report.other[code] ?? 0) + 1;
      },
    );
    running.add(one);
    void one.finally(() => running.delete(one));
  }
  await Promise.all(running);
  console.log(JSON.stringify(report));
}

const [address, ...numbers] = process.argv.slice(2);
const [port, closedPort, rate, seconds = Infinity] = numbers.map(Number);
await main(address, port, closedPort, rate, seconds);
