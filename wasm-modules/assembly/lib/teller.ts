import { stableHashPair } from './hash';

/** The last that was asked for: most come many times in a row. */
let lastIdentity: u64 = 0;
let lastTeller: u8 = <u8>stableHashPair(0, 0);

/** 8 bits that stand for an agent, whatever the seed of the tables. `identity`: of the agent. */
export function tellerOf(identity: u64): u8 {
  if (identity !== lastIdentity) {
    lastIdentity = identity;
    lastTeller = <u8>stableHashPair(identity, 0);
  }
  return lastTeller;
}
