// Asks DNS servers as it is told by its arguments, and prints each message that it sent and received, one JSON line for each question.
//   dns-client.ts 'SERVER NAME TYPE udp|tcp EDNS_BYTES TIMEOUT_MS'...
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Exchange {
  localPort: number;
  /** Hexadecimal; the answer is empty when none came. */
  query: string;
  answer: string;
}

/** RFC 1035, section 4.1; with `ednsBytes` > 0 an OPT record (RFC 6891, section 6.1.2). */
function encodeQuery(name: string, type: number, ednsBytes: number): Buffer {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  const id = Math.floor(Math.random() * 65_536);
  const option = ednsBytes === 0 ? [] : [0, 0, 41, ednsBytes >> 8, ednsBytes & 255, 0, 0, 0, 0, 0, 0];
  const head = [id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, ednsBytes === 0 ? 0 : 1];
  return Buffer.from([...head, ...labels, 0, type >> 8, type & 255, 0, 1, ...option]);
}

async function askByUdp(server: string, query: Buffer, timeoutMs: number): Promise<Exchange> {
  const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4');
  const answered = once(socket, 'message');
  await new Promise<void>((resolve, reject) =>
    socket.send(query, 53, server, (error) => (error ? reject(error) : resolve())),
  );
  const answer = await Promise.race([
    answered.then(([bytes]) => bytes as Buffer),
    sleep(timeoutMs, undefined, { ref: false }),
  ]);
  const localPort = socket.address().port;
  socket.close();
  return { localPort, query: query.toString('hex'), answer: answer?.toString('hex') ?? '' };
}

async function askByTcp(server: string, query: Buffer): Promise<Exchange> {
  const socket = connect(53, server);
  await once(socket, 'connect');
  const localPort = socket.localPort ?? 0;
  socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 255]), query]));
  let answer = Buffer.alloc(0);
  while (answer.length < 2 || answer.length < 2 + answer.readUInt16BE()) {
    const [chunk] = await once(socket, 'data');
    answer = Buffer.concat([answer, chunk]);
  }
  socket.destroy();
  return { localPort, query: query.toString('hex'), answer: answer.subarray(2).toString('hex') };
}

for (const question of process.argv.slice(2)) {
  const [server, name, type, transport, ednsBytes, timeoutMs] = question.split(' ');
  const query = encodeQuery(name, Number(type), Number(ednsBytes));
  const exchange =
    transport === 'tcp' ? await askByTcp(server, query) : await askByUdp(server, query, Number(timeoutMs));
  process.stdout.write(`${JSON.stringify(exchange)}\n`);
}
