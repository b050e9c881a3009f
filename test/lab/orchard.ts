/**
 * Traffic with names of its own, so that it is found among whatever else a machine does: copies of programs, named after fruit, between two
 * hosts of a lab.
 *
 *   peach   iperf3, three streams of a bounded rate; one segment of thirty is lost on its way
 *   plum    curl, some times a second, for a page of nginx
 *   fig     curl, some times a second, to a port on which nobody listens
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LabHost, LabNetwork } from './network.ts';
import { waitFor } from './wait.ts';

export const PORTS = { peach: 5201, plum: 8090, fig: 6399 };
export type Fruit = keyof typeof PORTS;

const PROGRAMS = { peach: '/usr/bin/iperf3', plum: '/usr/bin/curl', fig: '/usr/bin/curl', plumtree: '/usr/sbin/nginx' };
const PAUSE_SECONDS = 0.2;

export class Orchard {
  /** What the names of its programs begin with, and no other's. */
  readonly prefix: string;
  readonly #network = new LabNetwork();
  readonly #directory: string;

  /** `directory` is the caller's to remove. */
  constructor(directory: string, prefix: string) {
    this.#directory = directory;
    this.prefix = prefix;
  }

  async start(): Promise<void> {
    await this.#network.start(['cli', 'srv']);
    for (const [fruit, program] of Object.entries(PROGRAMS)) copyFileSync(program, this.#path(fruit));
    const [client, server] = [this.#network.host('cli'), this.#network.host('srv')];
    server.spawn(this.#path('peach'), ['-s', '-p', String(PORTS.peach)], { stdio: 'ignore' });
    server.spawn(this.#path('plumtree'), ['-p', this.#directory, '-c', this.#configureNginx()], { stdio: 'ignore' });
    for (const port of [PORTS.peach, PORTS.plum]) await listens(server, port);
    await server.nft(LOSS);
    const peach = ['-c', server.v4, '-p', String(PORTS.peach), '-P', '3', '-b', '2M', '-t', '3600'];
    client.spawn(this.#path('peach'), peach, { stdio: 'ignore' });
    this.#repeat(client, 'plum', `http://${server.v4}:${PORTS.plum}/page`);
    this.#repeat(client, 'fig', `http://${server.v4}:${PORTS.fig}/`);
  }

  async stop(): Promise<void> {
    await this.#network.stop();
  }

  #repeat(host: LabHost, fruit: Fruit, url: string): void {
    const loop = `while :; do '${this.#path(fruit)}' -s -o /dev/null ${url}; sleep ${PAUSE_SECONDS}; done`;
    host.spawn('sh', ['-c', loop], { stdio: 'ignore' });
  }

  #path(fruit: string): string {
    return join(this.#directory, `${this.prefix}-${fruit}`);
  }

  #configureNginx(): string {
    mkdirSync(join(this.#directory, 'html'));
    writeFileSync(join(this.#directory, 'html', 'page'), 'x'.repeat(20_000));
    const path = join(this.#directory, 'nginx.conf');
    const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`);
    writeFileSync(
      path,
      `user root; daemon off; pid nginx.pid; error_log error.log; events {}
      http { access_log off; ${folders.join(' ')} server { listen ${PORTS.plum}; root html; } }`,
    );
    return path;
  }
}

const LOSS = `table inet loss {
  chain in {
    type filter hook input priority 0;
    tcp dport ${PORTS.peach} meta length > 500 numgen inc mod 30 == 0 drop
  }
}`;

async function listens(host: LabHost, port: number): Promise<void> {
  await waitFor(
    async () => ((await host.exec('ss', '-Htln', `sport = :${port}`)) === '' ? undefined : true),
    `a listener on port ${port}`,
  );
}
