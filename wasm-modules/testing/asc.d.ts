// What tests use of AssemblyScript's compiler (tsconfig.json maps `assemblyscript/asc` here). The package's own types declare the
// globals of the language, such as `console` without `error`, for every file of this program.
export function main(
  args: string[],
  host: {
    readFile: (path: string, baseDir: string) => string | null | Promise<string | null>;
    writeFile: (path: string, contents: Uint8Array | string, baseDir: string) => void;
  },
): Promise<{ error: Error | null; stderr: { toString(): string } }>;
