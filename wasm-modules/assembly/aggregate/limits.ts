/** Edges at once, on the match side and as leaves of the tree. Flows of further edges are added to (other). */
export const EDGE_COUNT_MAX: u32 = 1 << 19;
/** Rows beyond the limit for what does not fit: one edge of (other) for each protocol number. */
export const OTHER_EDGE_COUNT: u32 = 256;
/** Windows after which an unused edge, or a leaf without open flows, may be freed. */
export const EDGE_IDLE_WINDOWS: u32 = 60;
/** Distinct tallies of edges and hosts at once, half of them with a label. One with a further label is counted without it, a further one refused. */
export const TALLY_COUNT_MAX: u32 = 1 << 18;
/** Windows after which a tally that counted nothing may be freed; less than EDGE_IDLE_WINDOWS, because its leaf waits for it. */
export const TALLY_IDLE_WINDOWS: u32 = 12;
/** Pairs of executables behind edges of units and containers at once, and of one edge. Flows of further ones leave no name. */
export const PROCESS_PAIR_COUNT_MAX: u32 = 1 << 20;
export const PROCESS_PAIRS_OF_LEAF_MAX: u32 = 256;
/** Names of an end that the output tells. */
export const PROCESS_NAME_COUNT_MAX: u32 = 16;
