/**
 * Who may ask over TCP: whoever has the token. The unix socket's permissions decide there instead. Only the two questions of health checks
 * are answered to everybody.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, link, readFile, unlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { makeFolder } from '../lib/make-folder.ts';
import { UsageError } from '../lib/usage-error.ts';
import { giveToGroup } from '../wire/transport/unix-socket.ts';

/** Of a reducer on this host that was given no other. Root and the group `tributary` may read it. */
export const DEFAULT_TOKEN_FILE = '/run/tributary/api-token';

const TOKEN_LENGTH_MIN = 16;
const TOKEN_BYTES = 32;
const TOKEN_MODE = 0o640;
const OPEN_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

export type ApiRefusal = 'no_token' | 'wrong_token';

/** Answers 401 to whoever does not send the token of that moment (RFC 6750, section 2.1). `refused` is told of each. */
export function requireToken(
  server: FastifyInstance,
  token: () => string,
  refused: (refusal: ApiRefusal, peer: string) => void,
): void {
  server.addHook('onRequest', async (request, reply) => {
    if (OPEN_PATHS.has(request.routeOptions.url ?? '')) return;
    const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
    // Digests have one length, which timingSafeEqual needs and which tells nothing of the token's.
    if (given !== undefined && timingSafeEqual(digest(given), digest(token()))) return;
    refused(given === undefined ? 'no_token' : 'wrong_token', request.ip);
    const challenge = given === undefined ? 'Bearer' : 'Bearer error="invalid_token"';
    await reply.code(401).header('www-authenticate', challenge).send({
      error: 'the API over TCP needs a token: Authorization: Bearer TOKEN, from api.token-file of the reducer',
    });
  });
}

/** Without `path` the token of this host, in `made`; it is made if there is none. Throws UsageError TRB_API_TOKEN. */
export async function readOrMakeToken(path: string | undefined, made = DEFAULT_TOKEN_FILE): Promise<string> {
  if (path === undefined && !existsSync(made)) await makeToken(made);
  return readToken(path ?? made);
}

/** Throws UsageError TRB_API_TOKEN. */
export async function readToken(path: string): Promise<string> {
  const token = await readFile(path, 'utf8').catch((error: Error) => {
    throw new UsageError('TRB_API_TOKEN', `cannot read the token in ${path}: ${error.message}`);
  });
  const text = token.trim();
  if (text.length >= TOKEN_LENGTH_MIN && !/\s/.test(text)) return text;
  throw new UsageError(
    'TRB_API_TOKEN',
    `${path} has to hold one word of at least ${TOKEN_LENGTH_MIN} characters, for example from \`openssl rand -hex 32\``,
  );
}

/** The first of several that start at once makes it, and the others read that. */
async function makeToken(path: string): Promise<void> {
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  const unfinished = `${path}.${randomBytes(4).toString('hex')}`;
  try {
    const folder = await makeFolder(dirname(path), 0o750);
    if (folder !== undefined) await giveToGroup(folder);
    await writeFile(unfinished, `${token}\n`, { mode: 0o600, flag: 'wx' });
    await giveToGroup(unfinished);
    await chmod(unfinished, TOKEN_MODE);
    await link(unfinished, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await unlink(unfinished);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(
      'TRB_API_TOKEN',
      `cannot keep a token for the API in ${path}: ${reason}; name one with api.token-file`,
    );
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
