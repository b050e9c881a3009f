// The output of a window with so many series, as reducer.wasm makes it of a fleet whose connections are nearly all of different processes.

import { countRows } from '../../host/export/window-rows.ts';
import type { ClosedWindow } from '../../host/reducer/closed-window.ts';
import { Level } from '../../host/wire/gen/records-layout.ts';
import { FIRST_WINDOW, Input, WINDOW_NS } from '../native/input.ts';
import { Ours } from '../native/ours.ts';

export interface ExportedWindow {
  closed: ClosedWindow;
  /** Edges of the level that is exported, id_id. */
  series: number;
}

const AGENTS = 200;

/** `connections`: as many edges, less those that two have in common. */
export function makeWindow(module: WebAssembly.Module, connections: number): ExportedWindow {
  const load = { sockets: connections * 2, agents: AGENTS, updates: 1, churn: 0, spread: 'uniform' } as const;
  const input = new Input({ mix: 'steady', ...load });
  const reducer = new Ours(module, input);
  reducer.run(input.nextWindow());
  const output = reducer.run(input.nextWindow()).output.slice();
  const place = { window: FIRST_WINDOW + 1, windowNs: Number(WINDOW_NS), incarnation: 1n };
  return { closed: { ...place, outputs: [output] }, series: countRows(output)[Level.IdId] };
}
