// Node's type package leaves WebAssembly to TypeScript's browser library, which would bring a thousand globals that do not exist
// here (`name`, `event`, `document`). This is the part of the WebAssembly JavaScript Interface 2.0 that the project uses.
declare namespace WebAssembly {
  type ImportValue = Memory | Global | Table | ((...args: never[]) => unknown) | number | bigint;
  // biome-ignore lint/suspicious/noExplicitAny: what a module exports is known only to the one who names the module
  type Exports = Record<string, any>;
  type Imports = Record<string, Record<string, ImportValue>>;

  class Module {
    constructor(bytes: BufferSource);
    static exports(module: Module): { name: string; kind: string }[];
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }
  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Exports;
  }
  class Global {
    constructor(descriptor: { value: 'i32'; mutable: boolean }, value: number);
  }
  class Table {
    constructor(descriptor: { element: 'anyfunc'; initial: number });
    get(index: number): unknown;
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum?: number; shared?: boolean });
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  class RuntimeError extends Error {}
  class CompileError extends Error {}
  class LinkError extends Error {}

  function validate(bytes: BufferSource): boolean;
  function compile(bytes: BufferSource): Promise<Module>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;
  function instantiate(bytes: BufferSource, imports?: Imports): Promise<{ module: Module; instance: Instance }>;
}

type BufferSource = ArrayBufferView<ArrayBuffer> | ArrayBuffer;
