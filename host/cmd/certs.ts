// `tributary certs`: a small authority for those who have none. It keeps PEM files in one folder and nothing else.
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Command } from 'commander';
import { makeFolder } from '../lib/make-folder.ts';
import { UsageError } from '../lib/usage-error.ts';
import { createAuthority, issueCertificate, type KeyPair, type Purpose } from '../tls/authority.ts';
import { parseCertificates } from '../tls/credentials.ts';
import { describeCertificate } from '../tls/describe-certificate.ts';

const AUTHORITY = 'ca';
/** OpenSSL's name of P-256. */
const CURVE = 'prime256v1';
const AUTHORITY_DAYS = '3650';
const HOST_DAYS = '365';
const DAYS_MAX = 36_500;
/** X.520, upper bound of a common name. */
const NAME_LENGTH_MAX = 64;
const KEY_MODE = 0o600;
const CERTIFICATE_MODE = 0o644;

interface InitFlags {
  dir: string;
  name: string;
  days: string;
  force?: boolean;
}

interface IssueFlags {
  dir: string;
  name: string;
  san?: string[];
  client?: boolean;
  server?: boolean;
  days: string;
  out?: string;
  force?: boolean;
}

export function register(command: Command): void {
  const collect = (text: string, before: string[] = []): string[] => [...before, text];
  command
    .command('init')
    .description('make an authority: its certificate, which every host gets, and its key, which stays here')
    .requiredOption('--dir <DIR>', 'folder of the authority')
    .option('--name <NAME>', 'what the authority is called', 'tributary authority')
    .option('--days <N>', 'how long it is valid', AUTHORITY_DAYS)
    .option('--force', 'replace an authority: every certificate that it issued becomes useless')
    .action(init);
  command
    .command('issue')
    .description('make a certificate and a key for one host')
    .requiredOption('--dir <DIR>', 'folder of the authority')
    .requiredOption(
      '--name <HOST>',
      'host name or IP address: what agents call the reducer, or the node name of an agent',
    )
    .option('--san <HOST>', 'a further host name or IP address; may be repeated', collect)
    .option('--client', 'for an agent (default: for both)')
    .option('--server', 'for a reducer (default: for both)')
    .option('--days <N>', 'how long it is valid', HOST_DAYS)
    .option('--out <DIR>', 'where to put the files (default: the folder of the authority)')
    .option('--force', 'replace files that are there')
    .action(issue);
  command
    .command('show')
    .description('say what the certificates in a file are for, and for how long')
    .argument('<file>', 'PEM file')
    .action(show);
}

async function init({ dir, name, days, force }: InitFlags): Promise<void> {
  const authority = await createAuthority({ name: parseName(name), days: parseDays(days), now: new Date() });
  const paths = await keep(dir, AUTHORITY, authority, force);
  console.log(`authority "${name}", valid to ${day(authority.certificate)}`);
  console.log(`  ${paths.certificate}  for every host: tls.ca`);
  console.log(`  ${paths.key}  stays here; whoever has it can pose as any host`);
  console.log(`next: tributary certs issue --dir ${dir} --name HOST, for each host`);
}

async function issue(flags: IssueFlags): Promise<void> {
  const { dir, days, out = dir, force } = flags;
  const name = parseHost('--name', flags.name);
  if (name === AUTHORITY)
    throw new UsageError('TRB_CERTS', `--name ${name}: that is the authority's own file; use a host name`);
  const alternativeNames = (flags.san ?? []).map((text) => parseHost('--san', text));
  const authority = await readAuthority(dir);
  const wanted = { name, alternativeNames, purposes: purposesOf(flags), days: parseDays(days), now: new Date() };
  const issued = await issueCertificate(authority, wanted);
  const paths = await keep(out, name.replaceAll(':', '-'), issued, force);
  console.log(describeCertificate(new X509Certificate(issued.certificate), new Date()).join('\n'));
  console.log(`next, on ${name}, with ${join(dir, `${AUTHORITY}.pem`)} as a third file:`);
  console.log(`  --tls-ca ${AUTHORITY}.pem --tls-cert ${paths.certificate} --tls-key ${paths.key}`);
}

async function show(file: string): Promise<void> {
  const pem = await readFile(file, 'utf8').catch((error: Error) => {
    throw new UsageError('TRB_CERTS', `cannot read ${file}: ${error.message}`);
  });
  try {
    const now = new Date();
    console.log(
      parseCertificates(pem)
        .map((each) => describeCertificate(each, now).join('\n'))
        .join('\n\n'),
    );
  } catch (error) {
    throw new UsageError('TRB_CERTS', `${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Both files, or neither. A running process that reads them never sees half a file. */
async function keep(dir: string, name: string, pair: KeyPair, force = false): Promise<KeyPair> {
  const paths = { certificate: join(dir, `${name}.pem`), key: join(dir, `${name}-key.pem`) };
  const taken = Object.values(paths).find((path) => existsSync(path));
  if (taken !== undefined && !force)
    throw new UsageError(
      'TRB_CERTS_EXISTS',
      `${taken} exists: choose another folder or name, or add --force to replace it`,
    );
  try {
    await makeFolder(dir, 0o700);
    await replaceFile(paths.key, pair.key, KEY_MODE);
    await replaceFile(paths.certificate, pair.certificate, CERTIFICATE_MODE);
  } catch (error) {
    throw new UsageError(
      'TRB_CERTS',
      `cannot write to ${dir}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  return paths;
}

async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const unfinished = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(unfinished, text, { mode, flag: 'wx' });
  await rename(unfinished, path);
}

async function readAuthority(dir: string): Promise<KeyPair> {
  try {
    const [certificate, key] = await Promise.all([
      readFile(join(dir, `${AUTHORITY}.pem`), 'utf8'),
      readFile(join(dir, `${AUTHORITY}-key.pem`), 'utf8'),
    ]);
    const root = new X509Certificate(certificate);
    if (root.validToDate <= new Date()) throw new Error(`it expired on ${day(certificate)}`);
    if (
      !root.checkPrivateKey(createPrivateKey(key)) ||
      createPrivateKey(key).asymmetricKeyDetails?.namedCurve !== CURVE
    )
      throw new Error('its key is not the one that was made with it');
    return { certificate, key };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(
      'TRB_CERTS',
      `no authority in ${dir}: ${reason}; \`tributary certs init --dir ${dir}\` makes one`,
    );
  }
}

function purposesOf({ client, server }: IssueFlags): Purpose[] {
  if (Boolean(client) === Boolean(server)) return ['client', 'server'];
  return [client ? 'client' : 'server'];
}

function parseDays(text: string): number {
  const days = Number(text);
  if (Number.isInteger(days) && days >= 1 && days <= DAYS_MAX) return days;
  throw new UsageError('TRB_CERTS', `--days ${text}: use a whole number from 1 to ${DAYS_MAX}`);
}

function parseName(text: string): string {
  if (text !== '' && text.length <= NAME_LENGTH_MAX) return text;
  throw new UsageError('TRB_CERTS', `--name "${text}": use 1 to ${NAME_LENGTH_MAX} characters`);
}

/** Also becomes the name of a file. */
function parseHost(flag: string, text: string): string {
  const isHostName = /^(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/.test(
    text,
  );
  if (isIP(text) !== 0 || (isHostName && text.length <= NAME_LENGTH_MAX)) return text;
  throw new UsageError(
    'TRB_CERTS',
    `${flag} ${text}: use a host name of at most ${NAME_LENGTH_MAX} characters, or an IP address`,
  );
}

function day(certificate: string): string {
  return new X509Certificate(certificate).validToDate.toISOString().slice(0, 10);
}
