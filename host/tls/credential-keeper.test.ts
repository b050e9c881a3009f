// Certificates that change under a running process: by renames, by a swap of links as in a Kubernetes secret, and on a signal.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { CredentialKeeper } from './credential-keeper.ts';
import type { Credentials } from './credentials.ts';
import { TestAuthority } from './testing/test-credentials.ts';

const DAY_MS = 86_400_000;
const PARTS = ['ca', 'cert', 'key'] as const;

interface Line {
  level: number;
  msg: string;
}

class Scene {
  readonly folder = mkdtempSync(join(tmpdir(), 'tributary-keeper-'));
  readonly lines: Line[] = [];
  readonly renewed: Credentials[] = [];
  readonly keeper: CredentialKeeper;
  nowMs = Date.now();
  #news = Promise.withResolvers<void>();

  constructor(context: TestContext) {
    context.after(() => {
      this.keeper.stop();
      rmSync(this.folder, { recursive: true });
    });
    const write = (text: string): void => {
      this.lines.push(JSON.parse(text));
      this.#tell();
    };
    const renewed = (credentials: Credentials): void => {
      this.renewed.push(credentials);
      this.#tell();
    };
    const files = { ca: this.path('ca'), cert: this.path('cert'), key: this.path('key') };
    this.keeper = new CredentialKeeper(
      { files, pollMs: 20 },
      { log: pino({}, { write }), now: () => this.nowMs, renewed },
    );
  }

  path(part: (typeof PARTS)[number]): string {
    return join(this.folder, `${part}.pem`);
  }

  /** By renames, one after the other. */
  write(credentials: Partial<Credentials>): void {
    for (const part of PARTS) {
      const text = credentials[part];
      if (text === undefined) continue;
      writeFileSync(`${this.path(part)}.new`, text);
      renameSync(`${this.path(part)}.new`, this.path(part));
    }
  }

  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) {
      await this.#news.promise;
      this.#news = Promise.withResolvers();
    }
  }

  said(pattern: RegExp): boolean {
    return this.lines.some(({ msg }) => pattern.test(msg));
  }

  #tell(): void {
    this.#news.resolve();
  }
}

test('files that are replaced are used, and what they replaced is not asked for again', async (context) => {
  const scene = new Scene(context);
  const authority = await TestAuthority.create();
  const [first, second] = [await authority.issue(), await authority.issue()];
  scene.write(first);
  assert.deepEqual(await scene.keeper.start(), first);
  scene.write(second);
  await scene.until(() => scene.renewed.length === 1);
  assert.deepEqual(scene.keeper.credentials, second);
  assert.ok(scene.said(/new certificates are in use/));
});

test('a secret whose folder is swapped under a link is noticed', async (context) => {
  const scene = new Scene(context);
  const authority = await TestAuthority.create();
  const [first, second] = [await authority.issue(), await authority.issue()];
  const put = (version: string, credentials: Credentials): void => {
    mkdirSync(join(scene.folder, version));
    for (const part of PARTS) writeFileSync(join(scene.folder, version, `${part}.pem`), credentials[part]);
    symlinkSync(version, join(scene.folder, '..data_tmp'));
    renameSync(join(scene.folder, '..data_tmp'), join(scene.folder, '..data'));
  };
  put('..1', first);
  for (const part of PARTS) symlinkSync(`..data/${part}.pem`, scene.path(part));
  await scene.keeper.start();
  put('..2', second);
  await scene.until(() => scene.renewed.length === 1);
  assert.deepEqual(scene.keeper.credentials, second);
});

test('files that cannot be used leave the old ones in use, and are said once; later ones are used', async (context) => {
  const scene = new Scene(context);
  const authority = await TestAuthority.create();
  const [first, second] = [await authority.issue(), await authority.issue()];
  scene.write(first);
  await scene.keeper.start();
  scene.write({ key: 'not a key' });
  await scene.until(() =>
    scene.said(/the new certificates cannot be used, the old ones stay: tls\.key .*no private key/),
  );
  assert.deepEqual(scene.keeper.credentials, first);
  scene.write(second);
  await scene.until(() => scene.renewed.length === 1);
  assert.equal(scene.lines.filter(({ msg }) => /cannot be used/.test(msg)).length, 1);
});

test('a reload reads at once and says what is wrong at once', async (context) => {
  const scene = new Scene(context);
  const authority = await TestAuthority.create();
  const [first, second] = [await authority.issue(), await authority.issue()];
  scene.write(first);
  await scene.keeper.start();
  scene.keeper.stop();
  scene.write(second);
  await scene.keeper.reload();
  await scene.keeper.reload();
  assert.deepEqual(scene.renewed, [second]);
  assert.ok(scene.said(/have not changed/));
  scene.write({ cert: first.cert });
  await scene.keeper.reload();
  assert.ok(scene.said(/is not the key of the certificate/));
  assert.deepEqual(scene.keeper.credentials, second);
});

test('from thirty days before its end a certificate is warned about once a day', async (context) => {
  const scene = new Scene(context);
  const authority = await TestAuthority.create();
  scene.write(await authority.issue({ days: 40 }));
  await scene.keeper.start();
  assert.equal(Math.round(scene.keeper.secondsToExpiry / 86_400), 40);
  scene.nowMs += 9 * DAY_MS;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(scene.lines.length, 0);
  // A certificate begins with a second: its last day may begin a little later than the scene's.
  scene.nowMs += 2 * DAY_MS + 60_000;
  await scene.until(() => scene.lines.length === 1);
  assert.match(scene.lines[0].msg, /the certificate \S+cert\.pem expires in 28 days/);
  scene.nowMs += DAY_MS + 1;
  await scene.until(() => scene.lines.length === 2);
  scene.nowMs += 30 * DAY_MS;
  await scene.until(() => scene.lines.length === 3);
  assert.match(scene.lines[2].msg, /has expired/);
  assert.ok(scene.keeper.secondsToExpiry < 0);
});
