// What a Prometheus would scrape, as samples (text exposition format 0.0.4).
import type { LabHost } from './network.ts';

export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

export async function scrape(host: LabHost, port: number): Promise<Sample[]> {
  const text = await host.exec('curl', '-sS', '--fail-with-body', `http://127.0.0.1:${port}/metrics`);
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map(readSample);
}

function readSample(line: string): Sample {
  const [, name, labels = '', value] = line.match(/^(\w+)(?:\{(.*)\})? (\S+)$/) ?? [];
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  return { name, labels: Object.fromEntries(pairs.map(([, key, text]) => [key, text])), value: Number(value) };
}

/** The sum of the samples of one name whose labels are as asked. */
export function sumOf(samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}): number {
  const matches = (sample: Sample): boolean =>
    sample.name === name && Object.entries(labels).every(([key, text]) => (sample.labels[key] ?? '') === text);
  return samples.filter(matches).reduce((sum, { value }) => sum + value, 0);
}

/** For the message of a failure. */
export function describeSamples(samples: readonly Sample[], name: RegExp): string {
  return samples
    .filter((sample) => name.test(sample.name))
    .map((sample) => `${sample.name} ${JSON.stringify(sample.labels)} ${sample.value}`)
    .join('\n');
}
