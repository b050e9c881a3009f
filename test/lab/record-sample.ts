// `npm run record-sample`: makes test/golden/sample, the recordings that `npm start -- replay sample` shows. Three hosts, real programs:
// web requests over IPv4 and IPv6, a bulk transfer with loss, a request through a router that translates both addresses, and
// connects that are refused, time out and are abandoned.
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Lab } from './lab.ts';
import { Nginx } from './nginx.ts';
import { SHORT_CONNECTIONS_CLIENT } from './short-connections.ts';

const FOLDER = fileURLToPath(new URL('../golden/sample', import.meta.url));
const SAMPLE_BYTES_MAX = 1 << 20;
const HOSTS = ['client', 'web', 'router'];

rmSync(FOLDER, { recursive: true, force: true });
mkdirSync(FOLDER, { recursive: true });
const lab = new Lab({ hosts: HOSTS });
try {
  await lab.prepare();
  const agents = HOSTS.map((name) => lab.recordAgent(name, join(FOLDER, `${name}.rec.zst`)));
  await Promise.all(agents.map((agent) => agent.logged(/"looking"/)));
  await makeTraffic();
  await sleep(2_000);
  await Promise.all(agents.map((agent) => agent.kill('SIGTERM')));
} finally {
  await lab.stop();
}
const bytes = HOSTS.map((name) => statSync(join(FOLDER, `${name}.rec.zst`)).size).reduce((sum, size) => sum + size, 0);
if (bytes > SAMPLE_BYTES_MAX)
  throw new Error(`the sample has ${bytes} bytes, at most ${SAMPLE_BYTES_MAX} are meant to be`);
console.log(`${FOLDER}: ${bytes} bytes`);

async function makeTraffic(): Promise<void> {
  const [client, web, router] = HOSTS.map((name) => lab.network.host(name));
  new Nginx(lab, 'web', 80);
  lab.run('web', 'iperf3', '-s', '-p', '5201');
  await sleep(1_000);
  await router.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  await router.nft(`table ip nat {
    chain pre { type nat hook prerouting priority -100; tcp dport 8443 dnat to ${web.v4}:80; }
    chain post { type nat hook postrouting priority 100; tcp dport 80 masquerade; }
  }`);
  await web.nft(`table inet faults { chain in { type filter hook prerouting priority 0;
    tcp dport 5201 meta length > 500 numgen inc mod 200 == 7 drop
    tcp dport { 5432, 6379 } drop
  }; }`);
  const v6 = `http://[${web.v6}]/`;
  await client.exec('sysctl', '-qw', 'net.ipv4.tcp_syn_retries=1');
  await Promise.all([
    client.exec(process.execPath, SHORT_CONNECTIONS_CLIENT, web.v4, '80', '81', '20', '12'),
    client.exec('iperf3', '-c', web.v4, '-t', '8', '-b', '20M'),
    client.exec('sh', '-c', `for i in 1 2 3 4 5 6; do curl -s -o /dev/null '${v6}'; sleep 1; done`),
    client.exec('sh', '-c', `for i in 1 2 3 4 5; do curl -s -o /dev/null http://${router.v4}:8443/; sleep 1; done`),
    client.attempt('curl', '-s', `http://${web.v4}:5432/`),
    client.attempt('curl', '-s', '--connect-timeout', '1', `http://${web.v4}:6379/`),
  ]);
}
