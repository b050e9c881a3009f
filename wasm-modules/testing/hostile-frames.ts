// Frames of an agent that lies: well-formed ones that contradict themselves, and ones that were changed after they were made. The header is
// made anew, as a liar would, so what is wrong is wrong inside.
import { FRAME_HEADER_SIZE, FrameKind, type Open } from '../../host/wire/gen/wire-layout.ts';
import type { Random } from '../../schemas/testing/random.ts';
import {
  announceFrame,
  baselineFrame,
  close,
  closeFrame,
  foldFrame,
  ipv4,
  narrowFrame,
  once,
  onceFrame,
  open,
  openFrame,
  process,
  settledFrame,
  snapshotMark,
  tallyFrame,
  totals,
  wideFrame,
  windowEnd,
} from './agent-frames.ts';

const HANDLES = 60;

export class Liar {
  readonly #random: Random;
  /** Open ends of others: their keys and their addresses. */
  readonly #victims: Open[];
  /** Those of connections whose two ends were told: nothing is left to claim, whatever is changed. */
  readonly #joined: Open[];

  constructor(random: Random, victims: Open[]) {
    this.#random = random;
    this.#victims = victims;
    this.#joined = victims.filter(({ joinKey, role }) =>
      victims.some((other) => other.joinKey === joinKey && other.role !== role),
    );
  }

  frame(window: number): Uint8Array {
    const isChanged = this.#random.chance(0.5);
    const frame = this.#make(window, isChanged);
    return isChanged ? this.#mutate(frame) : frame;
  }

  announcement(): Uint8Array {
    const processes = Array.from({ length: 4 }, (_, index) => process(index + 1, { unit: `evil-${index}` }));
    const labels = [1, 2].map((handle) => ({ handle, text: `evil ${handle}` }));
    return announceFrame({ addressSpaces: [{ handle: 1, name: 'default' }], processes, labels });
  }

  #make(window: number, isChanged: boolean): Uint8Array {
    const random = this.#random;
    const count = 1 + random.below(4);
    const many = <Item>(make: () => Item): Item[] => Array.from({ length: count }, make);
    const handle = () => (random.chance(0.02) ? random.uint32() : random.below(HANDLES));
    const value = () => (random.chance(0.1) ? BigInt(random.uint32()) << 32n : BigInt(random.below(1 << 20)));
    const some = () =>
      totals({
        bytesSent: value(),
        bytesReceived: value(),
        segmentsSent: value(),
        retransmits: value(),
        srttUs: random.uint32(),
      });
    switch (random.below(14)) {
      case 0:
        return openFrame(many(() => this.#open(handle())));
      case 1:
        return narrowFrame(
          many(() => ({
            handle: handle(),
            bytesSent: random.uint32(),
            bytesReceived: 1,
            srttUs: 1,
            segmentsSent: 1,
            segmentsReceived: 1,
            retransmits: 1,
          })),
        );
      case 2:
        return wideFrame(many(() => ({ handle: handle(), totals: some() })));
      case 3:
        return onceFrame(
          many(() => once({ open: this.#open(random.chance(0.95) ? 0 : 1), totals: some(), reason: random.below(13) })),
        );
      case 4:
        return closeFrame(many(() => close(handle(), some(), random.below(13))));
      case 5:
        return baselineFrame(many(() => ({ handle: handle(), kind: random.below(4), totals: some() })));
      case 6:
        return settledFrame(
          many(() => ({
            joinKey: value(),
            pair: value(),
            role: random.below(4),
            counted: random.below(3),
            window,
            totals: some(),
          })),
        );
      case 7:
        return foldFrame(
          many(() => ({
            ...this.#open(0),
            serverPort: 80,
            role: random.below(4),
            sockets: random.below(9),
            connections: random.below(9),
            refused: 0,
            timedOut: random.below(2),
            abandoned: 0,
            unreachable: 0,
            other: 0,
            resetsSent: 0,
            resetsReceived: random.below(3),
            closed: random.below(9),
            openings: random.below(3),
            shard: random.below(256),
            settled: random.below(3),
            endTimeNs: value(),
            totals: random.chance(0.5) ? some() : totals(),
            last: some(),
          })),
        );
      case 8:
        return announceFrame({
          processes: many(() =>
            process(random.chance(0.05) ? random.uint32() : random.below(40), {
              comm: 'evil',
              containerId: random.chance(0.5) ? 'e'.repeat(64) : '',
            }),
          ),
          endedProcesses: random.chance(0.3) ? [random.below(40)] : [],
          labels: random.chance(0.3) ? many(() => ({ handle: random.below(6), text: `evil ${random.below(9)}` })) : [],
          endedLabels: random.chance(0.1) ? [random.below(6)] : [],
          addressSpaces: random.chance(0.2) ? [{ handle: random.below(5000), name: 'evil' }] : [],
          hostAddresses: many(() => ({
            address: ipv4(172, 16, random.below(4), random.below(9)),
            addressSpace: random.below(3),
          })),
          namedAddresses: random.chance(0.2)
            ? many(() => ({
                address: ipv4(10, 0, random.below(4), random.below(9)),
                addressSpace: random.below(3),
                label: random.below(6),
              }))
            : [],
        });
      case 9:
        return snapshotMark(random.pick([FrameKind.SnapshotBegin, FrameKind.SnapshotEnd]), window);
      case 10:
        return random.chance(0.99)
          ? this.announcement()
          : windowEnd(window - 3 + random.below(80), window - random.below(5));
      case 11:
        return tallyFrame(
          many(() => ({
            handle: handle(),
            kind: random.below(random.chance(0.2) ? 70 : 12),
            code: random.chance(0.1) ? random.uint32() : random.below(4),
            label: random.chance(0.05) ? random.uint32() : random.below(4),
            count: random.chance(0.1) ? 0n : value(),
            sum: random.chance(0.5) ? 0n : value() << BigInt(random.below(30)),
          })),
        );
      case 12: {
        const bytes = Uint8Array.from(narrowFrame([]));
        new DataView(bytes.buffer).setUint16(4, random.below(90), true);
        return bytes;
      }
      default: {
        // Whoever knows the key of a connection of which one end is told can invent the other (docs/protocol.md, section 9).
        const victims = isChanged ? this.#joined : this.#victims;
        if (victims.length === 0) return this.announcement();
        return openFrame(
          many(() => ({
            ...random.pick(victims),
            handle: handle(),
            process: 0,
            cookie: BigInt(random.uint32()),
          })),
        );
      }
    }
  }

  #open(handle: number): Open {
    const random = this.#random;
    const wild = random.chance(0.05);
    return open({
      handle,
      process: wild ? random.uint32() : random.below(5),
      joinKey: random.chance(0.5) ? 0n : (BigInt(random.uint32()) << 32n) | 1n,
      cookie: BigInt(random.uint32()),
      localAddress: ipv4(172, 16, random.below(4), random.below(9)),
      remoteAddress: ipv4(172, 16, random.below(4), random.below(9)),
      localPort: random.below(65536),
      remotePort: random.below(4),
      addressSpace: wild ? random.uint32() : 1,
      flags: random.chance(0.05) ? random.uint32() : random.below(4),
      role: random.chance(0.05) ? random.below(256) : random.below(3),
      roleSource: random.below(6),
      protocol: random.chance(0.9) ? 6 : random.below(256),
    });
  }

  /** Changes some bytes of the payload, or its length. */
  #mutate(frame: Uint8Array): Uint8Array {
    const random = this.#random;
    if (frame.length === FRAME_HEADER_SIZE) return frame;
    const mutated = Uint8Array.from(frame);
    for (let changes = 1 + random.below(4); changes > 0; changes--) {
      mutated[FRAME_HEADER_SIZE + random.below(mutated.length - FRAME_HEADER_SIZE)] = random.pick([
        0,
        1,
        127,
        128,
        255,
        random.below(256),
      ]);
    }
    if (random.chance(0.8)) return mutated;
    const cut = mutated.subarray(0, FRAME_HEADER_SIZE + 8 * random.below((mutated.length - FRAME_HEADER_SIZE) / 8));
    new DataView(cut.buffer).setUint32(0, cut.length - FRAME_HEADER_SIZE, true);
    return cut;
  }
}
