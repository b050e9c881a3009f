import { readFileSync } from 'node:fs';

/** Throws an Error that names the file and the cure when it is missing or broken: no stage runs in TypeScript instead. */
export async function compileModule(path: string): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(readFileSync(path));
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new Error(`${path} cannot be used: ${cause}. "npm run build:wasm" makes it`);
  }
}
