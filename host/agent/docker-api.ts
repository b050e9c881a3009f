// Questions to Docker's API (Podman speaks it, too) on its unix socket. It only reads, although the socket would allow anything.
import { z } from 'zod';

// An import would read every export, and with WebSocket load a whole HTTP client beside it: 16 MiB.
const { request } = process.getBuiltinModule('node:http');

/** For a whole answer: a daemon that is busy is asked again, and the start of the agent waits for one. */
const TIMEOUT_MS = 1_000;
/** A list of ten thousand containers has about ten MiB. */
const ANSWER_BYTES_MAX = 32 << 20;

const Labels = z.record(z.string(), z.string()).nullish();

/** GET /containers/json: those that run. */
const ListSchema = z.array(
  z.object({ Id: z.string(), Names: z.array(z.string()).nullish(), Image: z.string(), Labels }),
);
/** GET /containers/ID/json. */
const InspectSchema = z.object({
  Id: z.string(),
  Name: z.string(),
  Config: z.object({ Image: z.string(), Labels, Env: z.array(z.string()).nullish() }),
});

/** What is asked of a container; the rest of the answer is not kept. */
export interface DockerContainer {
  id: string;
  /** As the API has it, with a slash before it. */
  name: string;
  image: string;
  labels: Readonly<Record<string, string>>;
  /** Undefined where it was not told. Secrets stand there, too. */
  environment: readonly string[] | undefined;
}

/** Throws an Error when nobody answers, or not in this way. */
export async function listContainers(socket: string): Promise<DockerContainer[]> {
  const list = ListSchema.parse(await ask(socket, '/containers/json'));
  return list.map(({ Id: id, Names: names, Image: image, Labels: labels }) => ({
    ...{ id, name: names?.[0] ?? '', image, labels: labels ?? {}, environment: undefined },
  }));
}

/** Undefined when it does not know the container. Throws an Error when nobody answers, or not in this way. `id`: hexadecimal. */
export async function inspectContainer(socket: string, id: string): Promise<DockerContainer | undefined> {
  const answer = await ask(socket, `/containers/${id}/json`);
  if (answer === undefined) return undefined;
  const { Id, Name, Config } = InspectSchema.parse(answer);
  const { Image: image, Labels: labels, Env: environment } = Config;
  return { id: Id, name: Name, image, labels: labels ?? {}, environment: environment ?? [] };
}

/** The JSON of an answer, undefined for 404. */
async function ask(socketPath: string, path: string): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const call = request({ socketPath, path, signal, agent: false }, (response) => {
    const pieces: Buffer[] = [];
    let byteCount = 0;
    response.on('data', (piece: Buffer) => {
      byteCount += piece.length;
      if (byteCount > ANSWER_BYTES_MAX) call.destroy(new Error(`more than ${ANSWER_BYTES_MAX} bytes`));
      else pieces.push(piece);
    });
    response.once('error', reject);
    response.once('end', () => {
      if (response.statusCode === 404) return resolve(undefined);
      if (response.statusCode !== 200) return reject(new Error(`${path}: status ${response.statusCode}`));
      try {
        resolve(JSON.parse(Buffer.concat(pieces).toString()));
      } catch (error) {
        reject(error);
      }
    });
  });
  call.once('error', reject);
  call.end();
  return promise;
}
