// What do the tables and the ring cost, against what JavaScript offers?
//
// The product's tables do a number of operations in one call into WebAssembly; Map, plain and typed arrays do the same operations in the same round,
// in another order each round. What they find must be the same. A hop is a record's way from one thread to another, by the mesh's ring or by messages.

import { parseArgs } from 'node:util';
import { Hop, WAYS, type Way } from './kernels/hop.ts';
import { arrayHistogram, mapHistogram, mapIntern, mapJoins, mapLookups } from './kernels/maps.ts';
import { measureSides } from './kernels/measure.ts';
import { compileKernels, productHistogram, productIntern, productJoin, productLookup } from './kernels/product.ts';
import type { Side } from './kernels/side.ts';
import { choices, positive, positives } from './lib/options.ts';
import { Report } from './lib/report.ts';
import { ratiosOf, rotate, showSpread, spreadOf } from './lib/statistics.ts';

const KERNELS = ['lookup', 'join', 'histogram', 'intern', 'hop'] as const;
type TableKernel = Exclude<(typeof KERNELS)[number], 'hop'>;

const { values } = parseArgs({
  options: {
    kernel: { type: 'string', default: KERNELS.join(',') },
    size: { type: 'string', default: '1000,100000,5000000' },
    batch: { type: 'string', default: '1,64,512,4096' },
    operations: { type: 'string', default: '300000' },
    records: { type: 'string', default: '2097152' },
    rounds: { type: 'string', default: '9' },
    warmup: { type: 'string', default: '2' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- kernels [options]: what the tables and the ring cost, against what JavaScript offers

  --kernel LIST    ${KERNELS.join(', ')} (all)
  --size LIST      rows of the tables; histograms up to 131072 (1000,100000,5000000)
  --batch LIST     records of a hop that are published at once, powers of two (1,64,512,4096)
  --operations N   in one measurement (300000)
  --records N      of a hop in one measurement, a power of two (2097152)
  --rounds N       measured rounds (9)
  --warmup N       rounds before them (2)
  --json FILE      where the raw numbers go (bench/results/kernels.json)`);
  process.exit(0);
}

/** lib/histogram.ts: HISTOGRAM_COUNT_MAX. */
const HISTOGRAM_COUNT_MAX = 1 << 17;
const SIDES: Record<TableKernel, (module: WebAssembly.Module, size: number) => Side[]> = {
  lookup: (module, size) => [productLookup(module, size), ...mapLookups(size)],
  join: (module, size) => [productJoin(module, size), ...mapJoins(size)],
  histogram: (module, size) => [productHistogram(module, size), arrayHistogram(size), mapHistogram(size)],
  intern: (module, size) => [productIntern(module, size), mapIntern(size)],
};

const TITLES: Record<TableKernel, string> = {
  lookup: 'a flow by its key of 128 bits, at random; ratio of one round, median (least-greatest)',
  join: 'of a connection the first end, the second, and the oldest flow goes',
  histogram: 'one sample into one of so many histograms, at random',
  intern: 'a text of 32 bytes by its bytes, at random, and its release',
};

const kernels = choices('kernels', 'kernel', values.kernel, KERNELS);
const sizes = positives('kernels', 'size', values.size);
const batches = positives('kernels', 'batch', values.batch);
const records = positive('kernels', 'records', values.records);
const rounds = positive('kernels', 'rounds', values.rounds);
const warmup = positive('kernels', 'warmup', values.warmup);
const options = { operations: positive('kernels', 'operations', values.operations), rounds, warmup };

const module = await compileKernels();
const report = new Report('kernels', values.json);
for (const kernel of kernels) {
  if (kernel === 'hop') await measureHops();
  else measureTable(kernel);
}
report.finish();

function measureTable(kernel: TableKernel): void {
  const rows: string[][] = [];
  for (const size of sizes) {
    if (kernel === 'histogram' && size > HISTOGRAM_COUNT_MAX) continue;
    report.progress(`${kernel}: ${size} rows`);
    const times = measureSides(SIDES[kernel](module, size), options);
    report.keep(`${kernel}, ${size}`, Object.fromEntries(times));
    rows.push(...timeRows(String(size), times));
  }
  report.table(`${kernel}: ${TITLES[kernel]}`, ['rows', 'by', 'CPU ns', 'ratio to tributary'], rows);
}

/** The first of `times` is the product's. */
function timeRows(first: string, times: Map<string, number[]>): string[][] {
  const [[, ours]] = times;
  return [...times].map(([name, list]) => [
    first,
    name,
    showSpread(spreadOf(list), 1),
    list === ours ? '1' : showSpread(ratiosOf(list, ours), 2),
  ]);
}

async function measureHops(): Promise<void> {
  const rows: string[][] = [];
  const hop = new Hop();
  try {
    for (const batch of batches) {
      report.progress(`hop: ${batch} records at once`);
      const times = new Map(WAYS.map((way): [Way, number[]] => [way, []]));
      // Messages of one record each are slow enough to be measured by fewer.
      const order = { batch, records: Math.max(batch, batch === 1 ? records / 64 : records) };
      for (let round = -warmup; round < rounds; round++) {
        for (const way of rotate(WAYS, round + warmup)) {
          const ns = await hop.run({ way, ...order });
          if (round >= 0) times.get(way)?.push(ns);
        }
      }
      report.keep(`hop, ${batch}`, Object.fromEntries(times));
      rows.push(...timeRows(String(batch), times));
    }
  } finally {
    await hop.stop();
  }
  const title = 'hop: a record of 64 bytes from one thread to another, CPU of both';
  report.table(title, ['records at once', 'by', 'CPU ns', 'ratio to the ring'], rows);
}
