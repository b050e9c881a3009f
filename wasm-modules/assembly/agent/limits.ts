// Every table of the agent, its default limit, and what happens there. The host may lower the first four and TALLY_COUNT_MAX (tests do).

/** Sockets at once, closed and uncommitted ones included. Beyond: refused, counted. */
export const SOCKET_COUNT_MAX: u32 = 1 << 20;
/** Closed sockets that are not committed. Beyond: the oldest fold. */
export const CLOSED_RETAINED_MAX: u32 = 131072;
/** Told changes that are not committed. Beyond: a socket's change is noted later, counted; a restart of the reducer may repeat it. */
export const JOURNAL_ENTRIES_MAX: u32 = 1 << 20;
/** Closed and committed sockets that a new reducer is told of. Beyond: the oldest are dropped, counted. */
export const SETTLED_COUNT_MAX: u32 = 131072;
/** Committed folds that a new reducer is told of. Beyond: the oldest are dropped, counted. */
export const SETTLED_FOLD_COUNT_MAX: u32 = 65536;
/** For how long a settled socket is kept (docs/decisions/settled.md). */
export const SETTLED_NS: f64 = 600e9;
/** Folds at once, up to 256 for a pair of addresses. Beyond: one fold for each role without process and addresses, counted. */
export const FOLD_COUNT_MAX: u32 = 262144;
/** Processes at once. Beyond: their sockets have no process, counted. */
export const PROCESS_COUNT_MAX: u32 = 65536;
/** A process without sockets keeps its name for so long: most come back. */
export const PROCESS_IDLE_NS: f64 = 60e9;
/** Network namespaces with loopback traffic at once; a reducer takes 4096 spaces. Beyond: their sockets are in the default space, counted. */
export const NETNS_SPACE_COUNT_MAX: u32 = 4094;
/** Tallies at once, told and uncommitted ones included. Beyond: refused, counted. From half of it on windows merge (below). */
export const TALLY_COUNT_MAX: u32 = 1 << 19;
/** Windows of one tally that were told and are not committed. Beyond: the newest merge, counted; a restart of the reducer may repeat them. */
export const TALLY_WINDOW_COUNT_MAX: u32 = 16;
/** Texts that tallies name, at once. Beyond: their tallies have no label, counted. */
export const LABEL_COUNT_MAX: u32 = 16384;
/** A longer text is cut. A DNS name has at most 253 characters (RFC 1035, section 2.3.4). */
export const LABEL_TEXT_BYTES_MAX: u32 = 256;
/** A label without tallies keeps its handle for so long: most come back. */
export const LABEL_IDLE_NS: f64 = 60e9;
/** Drops and lookups whose socket is not known until the totals were read twice. Beyond: they count for the host. */
export const WAITING_TALLIES_MAX: u32 = 65536;
/** DNS queries without an answer yet. Beyond: the newer is refused, counted; its answer is one to no query. */
export const DNS_QUERIES_MAX: u32 = 16384;
/** A query without an answer for so long timed out, whatever comes later: as resolvers wait by default (resolv.conf(5)). */
export const DNS_QUERY_WAIT_NS: u64 = 5_000_000_000;
/** Addresses with the name that was asked for. Beyond: the newer has none, counted. A reducer takes as many of a session. */
export const DNS_ADDRESSES_MAX: u32 = 65536;
/** A name holds for as long as the answer says, but no shorter and no longer. */
export const DNS_TTL_MIN_NS: u64 = 60_000_000_000;
export const DNS_TTL_MAX_NS: u64 = 3_600_000_000_000;
/** A frame with its header. */
export const FRAME_BYTES: u32 = 65536;
