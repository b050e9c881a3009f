import type { ReducerModuleOptions } from '../../host/reducer/reducer-module.ts';
import { ReducerWorkerCore } from '../../host/reducer/worker-core.ts';
import { decodeHello } from '../../host/wire/gen/wire-tables.ts';

/** The stages of a worker, which also say what they hold of each session at the moment of a seal. */
export class ObservedCore extends ReducerWorkerCore {
  readonly #sessionOfSlot = new Map<number, bigint>();
  readonly #sealed: (session: bigint, window: number, reached: number) => void;

  constructor(options: ReducerModuleOptions, sealed: (session: bigint, window: number, reached: number) => void) {
    super(options);
    this.#sealed = sealed;
  }

  override openSession(hello: Uint8Array): number {
    const slot = super.openSession(hello);
    const session = decodeHello(hello)?.session;
    if (slot >= 0 && session !== undefined) this.#sessionOfSlot.set(slot, session);
    return slot;
  }

  override seal(window: number, forgotten: number): void {
    for (const [slot, session] of this.#sessionOfSlot) this.#sealed(session, window, this.toldWindow(slot));
    super.seal(window, forgotten);
  }
}
