// Names for what the running kernel tells as numbers: its functions by address (/proc/kallsyms, see kallsyms in proc(5)), and its reasons to
// drop a packet, whose numbers differ between kernels. The table is read when the first address comes, once: a module that is loaded later
// stays without names.
import { readFileSync } from 'node:fs';

const SYMBOLS_PATH = '/proc/kallsyms';
/** Kernels with everything built in have about 200 000. Beyond: no names for the rest. */
const SYMBOL_COUNT_MAX = 524_288;
/** The largest functions of a kernel are smaller: what is farther from the last symbol before it belongs to none. */
const FUNCTION_BYTES_MAX = 131_072;
const REASON_PREFIX = 'SKB_DROP_REASON_';

interface Symbols {
  /** The upper and lower halves of the addresses, in the order of the file. */
  high: Uint32Array;
  low: Uint32Array;
  /** Where each line's name begins in `text`, and behind the last its end. */
  nameAt: Uint32Array;
  text: Buffer;
}

export interface KernelSymbolsOptions {
  /** Of the running kernel, name → number (readKernelEnum('skb_drop_reason') of @tributary/bpf). */
  dropReasons: Readonly<Record<string, number>>;
  path?: string;
}

export class KernelSymbols {
  readonly #reasons: ReadonlyMap<number, string>;
  readonly #path: string;
  #symbols: Symbols | undefined;

  constructor({ dropReasons, path = SYMBOLS_PATH }: KernelSymbolsOptions) {
    const named = Object.entries(dropReasons).map(([name, value]) => [value, name.replace(REASON_PREFIX, '')] as const);
    this.#reasons = new Map(named);
    this.#path = path;
  }

  /** `REASON function`; the reason alone where the kernel hides its addresses (kernel.kptr_restrict) or has no function there. */
  nameDropSite(reason: number, address: bigint): string {
    const name = this.#reasons.get(reason) ?? `reason ${reason}`;
    const where = this.functionAt(address);
    return where === undefined ? name : `${name} ${where}`;
  }

  /** The function that holds the address, without what the compiler adds for its parts and copies (`.isra.0`, `.cold`). */
  functionAt(address: bigint): string | undefined {
    this.#symbols ??= readSymbols(this.#path);
    const { high, low, nameAt, text } = this.#symbols;
    const addressHigh = Number(address >> 32n);
    const addressLow = Number(address & 0xffff_ffffn);
    let found = -1;
    let least = FUNCTION_BYTES_MAX;
    for (let index = 0; index < high.length; index++) {
      const distance = (addressHigh - high[index]) * 2 ** 32 + (addressLow - low[index]);
      if (distance < 0 || distance >= least) continue;
      least = distance;
      found = index;
    }
    if (found < 0) return undefined;
    return text.toString('latin1', nameAt[found], nameAt[found + 1]).replace(/\..*/, '');
  }
}

/** Functions only: symbols of the types t, T, w and W, as `ADDRESS TYPE NAME`, with a module's name behind a tab. */
function readSymbols(path: string): Symbols {
  const file = readFile(path);
  const high: number[] = [];
  const low: number[] = [];
  const nameAt: number[] = [0];
  const text = Buffer.alloc(file.length);
  let textBytes = 0;
  for (let start = 0, end = 0; start < file.length && high.length < SYMBOL_COUNT_MAX; start = end + 1) {
    end = file.indexOf(10, start);
    if (end < 0) end = file.length;
    const [digits, type, name] = file.toString('latin1', start, end).split(/[ \t]/, 3);
    if (name === undefined || !'tTwW'.includes(type)) continue;
    textBytes += text.write(name, textBytes, 'latin1');
    nameAt.push(textBytes);
    high.push(Number.parseInt(digits.slice(0, -8), 16));
    low.push(Number.parseInt(digits.slice(-8), 16));
  }
  return {
    high: Uint32Array.from(high),
    low: Uint32Array.from(low),
    nameAt: Uint32Array.from(nameAt),
    text: Buffer.from(text.subarray(0, textBytes)),
  };
}

/** A kernel without the table names nothing. */
function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}
