import { stableHashPair } from './hash';

/** 8 bits that stand for an agent, whatever the seed of the tables. `identity`: of the agent. */
export function tellerOf(identity: u64): u8 {
  return <u8>stableHashPair(identity, 0);
}
