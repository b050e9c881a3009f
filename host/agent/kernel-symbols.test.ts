import assert from 'node:assert/strict';
import { mkdtempDisposableSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KernelSymbols } from './kernel-symbols.ts';

const dropReasons = { SKB_NOT_DROPPED_YET: 0, SKB_CONSUMED: 1, SKB_DROP_REASON_NO_SOCKET: 3 };

/** Nearest symbols need no order: a module's lie below and behind the kernel's in the file. */
const FILE = `ffffffff81000000 T _stext
ffffffff81000100 t udp_rcv.isra.0
ffffffff81000180 D jiffies
ffffffff81000200 T tcp_v4_rcv
ffffffffc0001000 t nf_hook\t[nf_tables]
ffffffffc0000000 T nft_do_chain\t[nf_tables]
`;

function symbolsOf(text: string, use: (symbols: KernelSymbols) => void): void {
  using folder = mkdtempDisposableSync(join(tmpdir(), 'tributary-symbols-'));
  const path = join(folder.path, 'kallsyms');
  writeFileSync(path, text);
  use(new KernelSymbols({ dropReasons, path }));
}

test('an address has the name of the function that holds it', () => {
  const rows: [bigint, string | undefined][] = [
    [0xffffffff81000000n, '_stext'],
    [0xffffffff810000ffn, '_stext'],
    [0xffffffff81000100n, 'udp_rcv'],
    [0xffffffff810001ffn, 'udp_rcv'],
    [0xffffffff81000200n, 'tcp_v4_rcv'],
    [0xffffffffc0000fffn, 'nft_do_chain'],
    [0xffffffffc0001001n, 'nf_hook'],
    [0xffffffff80ffffffn, undefined],
    [0xffffffffa0000000n, undefined],
  ];
  symbolsOf(FILE, (symbols) => {
    for (const [address, name] of rows) assert.equal(symbols.functionAt(address), name, address.toString(16));
  });
});

test('the place of a drop is its reason and its function', () => {
  symbolsOf(FILE, (symbols) => {
    assert.equal(symbols.nameDropSite(3, 0xffffffff81000110n), 'NO_SOCKET udp_rcv');
    assert.equal(symbols.nameDropSite(77, 0xffffffff81000110n), 'reason 77 udp_rcv');
  });
});

test('where the kernel hides its addresses the reason is left', () => {
  symbolsOf(FILE.replace(/^[0-9a-f]{16}/gm, '0'.repeat(16)), (symbols) => {
    assert.equal(symbols.nameDropSite(3, 0xffffffff81000110n), 'NO_SOCKET');
  });
  const missing = new KernelSymbols({ dropReasons, path: '/nowhere/kallsyms' });
  assert.equal(missing.nameDropSite(3, 0xffffffff81000110n), 'NO_SOCKET');
});

test("this kernel's own functions are found", (t) => {
  const lines = readFileSync('/proc/kallsyms', 'latin1').split('\n');
  const line = lines.find((one) => one.endsWith(' T kfree_skb_list_reason'));
  if (line === undefined || line.startsWith('0000000000000000')) {
    t.skip('this kernel hides its addresses');
    return;
  }
  const symbols = new KernelSymbols({ dropReasons });
  assert.equal(symbols.functionAt(BigInt(`0x${line.split(' ')[0]}`) + 4n), 'kfree_skb_list_reason');
});
