/** Edges at once, on the match side and as leaves of the tree. Flows of further edges are added to (other). */
export const EDGE_COUNT_MAX: u32 = 1 << 19;
/** Rows beyond the limit for what does not fit: one edge of (other) for each protocol number. */
export const OTHER_EDGE_COUNT: u32 = 256;
/** Windows after which an unused edge, or a leaf without open flows, may be freed. */
export const EDGE_IDLE_WINDOWS: u32 = 60;
