// A real nginx inside a lab host. Its access log is the ground truth: request_length and bytes_sent include the headers.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from './lab.ts';
import { waitFor } from './wait.ts';

export interface AccessLog {
  requests: number;
  requestBytes: number;
  responseBytes: number;
}

export class Nginx {
  readonly #directory: string;

  constructor(lab: Lab, host: string, port: number) {
    this.#directory = join(lab.directory, `nginx-${host}-${port}`);
    mkdirSync(join(this.#directory, 'html'), { recursive: true });
    writeFileSync(join(this.#directory, 'html', 'page'), 'x'.repeat(10_000));
    const path = join(this.#directory, 'nginx.conf');
    writeFileSync(path, configuration(this.#directory, port));
    lab.run(host, 'nginx', '-p', this.#directory, '-c', path);
  }

  accessLog(): AccessLog {
    const lines = readFileSync(join(this.#directory, 'access.log'), 'utf8').split('\n').filter(Boolean);
    const log = { requests: 0, requestBytes: 0, responseBytes: 0 };
    for (const line of lines) {
      const [requestBytes, responseBytes] = line.split(' ').map(Number);
      log.requests++;
      log.requestBytes += requestBytes;
      log.responseBytes += responseBytes;
    }
    return log;
  }

  async logged(requests: number): Promise<AccessLog> {
    return waitFor(() => {
      const log = this.accessLog();
      return log.requests >= requests ? log : undefined;
    }, `${requests} requests in nginx's log`);
  }
}

function configuration(directory: string, port: number): string {
  return `
user root;
daemon off;
worker_processes 2;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log;
events { worker_connections 1024; }
http {
  log_format truth '$request_length $bytes_sent';
  access_log ${directory}/access.log truth;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  server { listen ${port}; listen [::]:${port}; root ${directory}/html; rewrite ^ /page break; }
}
`;
}
