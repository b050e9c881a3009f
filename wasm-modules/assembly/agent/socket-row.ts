// Everything that every socket needs, 184 bytes. Its totals are known three times (docs/protocol.md, sections 3 and 6):
//
//   now        what the kernel said last
//   told       what this channel said last; UpdateNarrow is the difference
//   committed  what is exported, or for an adopted socket the history from before the agent looked: where a new reducer starts counting
//
// Of a socket that rests all three are the same, so only `now` is here (versions.ts).
import { Totals } from '../gen/wire';

export namespace SocketFlag {
  /** Older than the agent's look. */
  export const Adopted: u32 = 1 << 0;
  /** Its Open was told on this channel. */
  export const OpenTold: u32 = 1 << 1;
  /** A window with its Open is committed. */
  export const OpenCommitted: u32 = 1 << 2;
  /** A Baseline follows the Open that was told in this window. */
  export const BaselineDue: u32 = 1 << 3;
  export const Closed: u32 = 1 << 4;
  /** Closed, and this channel knows nothing of it: one record will tell everything. */
  export const Once: u32 = 1 << 5;
  /** Never was a connection. */
  export const Failed: u32 = 1 << 6;
  /** The handle waits for the commit of the close (handles.ts). */
  export const HandleReleased: u32 = 1 << 7;
  /** The journal was full when a change was told. */
  export const Unjournaled: u32 = 1 << 8;
  /** The owner is the listening process or a holder of the descriptor. */
  export const OwnerProvisional: u32 = 1 << 9;
  /** Its Open is to be told again: the owner or the role is better known. */
  export const AmendDue: u32 = 1 << 10;
  /** The handshake is among its tallies, or was: a Once does not say it again. Likewise the duration. */
  export const HandshakeTallied: u32 = 1 << 11;
  export const DurationTallied: u32 = 1 << 12;
  /** A flow of datagrams that may be older than the agent's look: its totals count from there, its opening does not. */
  export const MayBeOlder: u32 = 1 << 13;
}

@unmanaged
export class SocketRow {
  /** Next row of the list of closed sockets that this row is in. */
  next: u32; // 0
  flags: u32; // 4
  /** 0 = the row is free. */
  cookie: u64; // 8
  joinKey: u64; // 16
  /** CLOCK_MONOTONIC nanoseconds, 0 = unknown. */
  startTimeNs: u64; // 24
  endTimeNs: u64; // 32
  localAddressHi: u64; // 40
  localAddressLo: u64; // 48
  remoteAddressHi: u64; // 56
  remoteAddressLo: u64; // 64
  localPort: u16; // 72
  remotePort: u16; // 74
  space: u32; // 76
  process: u32; // 80
  /** On the wire; 0 = none. */
  handle: u32; // 84
  /** The window in which the end was told. */
  closeWindow: u32; // 88
  role: u8; // 92
  roleSource: u8; // 93
  protocol: u8; // 94
  ipVersion: u8; // 95
  error: u16; // 96
  reason: u8; // 98
  /** kernel.ConnectionPhase in which a reset ended it. */
  phase: u8; // 99
  /** The newest journal entry, and its window (journal.ts). */
  lastEntry: u32; // 100
  lastEntryWindow: u32; // 104
  /** The last census that saw the socket alive (census.ts). */
  census: u32; // 108
  private now0: u64; // 112
  private now1: u64;
  private now2: u64;
  private now3: u64;
  private now4: u64;
  private now5: u64;
  /** Versions. */
  told: u32; // 160
  committed: u32; // 164
  /** First of its tallies (tallies.ts); 0 = none. */
  tallies: u32; // 168
  /** As wire.Once.handshake_us; 0 = not known. */
  handshakeUs: u32; // 172
  /** What else the kernel counted (health-row.ts); 0 = nothing. */
  health: u32; // 176
  /** When its RTT variation was looked at last, seconds; 0 = never. */
  rttSampledS: u32; // 180

  get now(): Totals {
    return changetype<Totals>(changetype<usize>(this) + 112);
  }

  has(flag: u32): bool {
    return (this.flags & flag) !== 0;
  }

  set(flag: u32): void {
    this.flags |= flag;
  }

  clear(flag: u32): void {
    this.flags &= ~flag;
  }

  /** Of this connection of the socket. */
  get identity(): u64 {
    return this.cookie ^ this.startTimeNs;
  }

  /** A new reducer has to start counting from `committed`. */
  get hasBaseline(): bool {
    return (this.flags & (SocketFlag.Adopted | SocketFlag.OpenCommitted)) !== 0;
  }
}

if (offsetof<SocketRow>('now0') !== 112) ERROR('SocketRow: `now` is at 112');
if (offsetof<SocketRow>() !== 184) ERROR('SocketRow has 184 bytes');

export function copyTotals(to: Totals, from: Totals): void {
  memory.copy(changetype<usize>(to), changetype<usize>(from), offsetof<Totals>());
}

export function clearTotals(totals: Totals): void {
  memory.fill(changetype<usize>(totals), 0, offsetof<Totals>());
}
