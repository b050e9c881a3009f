import { allocate } from '../lib/arena';

/** A literal of the program as UTF-8 in linear memory, made once at start. */
@unmanaged
export class LiteralText {
  address: usize;
  bytes: u32;

  static of(literal: string): LiteralText {
    const text = changetype<LiteralText>(allocate(offsetof<LiteralText>()));
    text.address = allocate(<usize>String.UTF8.byteLength(literal));
    text.bytes = <u32>String.UTF8.encodeUnsafe(changetype<usize>(literal), literal.length, text.address);
    return text;
  }
}
