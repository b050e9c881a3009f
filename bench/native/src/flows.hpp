// Flows with their two ends, the table by join key, those that the open window touched and the lists of those that
// linger (wasm-modules/assembly/match/{flow,flow-table,touched-flows}.ts). Rows have the same bytes there.
#pragma once

#include "containers.hpp"
#include "names.hpp"
#include "viewpoints.hpp"

constexpr u32 FLOW_COUNT_MAX = 1 << 22;
constexpr u32 END_COUNT_MAX = 1 << 23;
constexpr u32 SHARD_COUNT = 256;
constexpr u64 FLOW_LINGER_NS = 600'000'000'000;
constexpr u32 FLOW_LINGER_MAX = 262'144;
constexpr u32 LIST_COUNT_MAX = FLOW_LINGER_MAX / SHARD_COUNT;
constexpr u32 NO_WINDOW = ~0u;

enum FlowFlag : u16 {
	FLOW_BOOKED = 2,
	FLOW_CONNECTION_COUNTED = 4,
	FLOW_CLOSED_COUNTED = 8,
	FLOW_RESET_COUNTED = 16,
	FLOW_FAILURE_COUNTED = 32,
	FLOW_JUDGED = 64,
	FLOW_ACTIVE = 128,
	FLOW_FINISHED = 512,
	FLOW_RENAMED = 1024,
	FLOW_UNORIENTED = 2048,
};

// Four flows to a byte, so that those of all flows stay in the core's cache (match/flow-marks.ts).
enum FlowMark : u8 {
	MARK_TOUCHED = 1,
	MARK_LINGERING = 2,
};

struct Flow {
	u64 forward_bytes;
	u64 reverse_bytes;
	u64 forward_packets;
	u64 reverse_packets;
	u64 forward_retransmits;
	u64 reverse_retransmits;
	u32 ends[2];
	u32 edge;
	// On the list of those that linger.
	u32 next;
};
static_assert(sizeof(Flow) == 64, "one cache line");

struct FlowKey {
	u64 high;
	u64 low;
};

// Of a connection whose ends tell its join key; of sockets that never connected, and of tuples, the mixes have none.
constexpr u8 KEY_KIND_JOIN = 0;

// Rows that few flows have; 0 = none.
struct FlowExtras {
	u32 history;
	u32 exported;
	u32 member;
	u32 own;
};

struct FlowCold {
	u32 named_version;
	u16 flags;
	u16 generation;
	u8 kind;
	u8 shard;
	u8 client_slot;
	u8 pad0;
	u32 linger_previous;
	u32 linger_window;
	u32 begin_time;
	u32 tallies;
	// Row of FlowExtras; 0 = all are 0.
	u32 extras;
};
static_assert(sizeof(FlowCold) == 32, "as in match/flow.ts");

enum EndFlag : u16 {
	END_REPORTED = 1,
	END_FRESH = 2,
	END_HELD = 4,
	END_EXISTING = 8,
	END_COUNTED = 16,
	END_CLOSED = 32,
	END_SETTLED = 64,
	END_MERGED = 128,
	END_CARRIES = 256,
	END_CLOSING = 512,
};

struct End {
	u64 bytes_sent;
	u64 bytes_received;
	u64 segments_sent;
	u64 segments_received;
	u64 retransmits;
	u32 srtt_us;
	u32 from_window;
	u32 flow;
	u16 open_count;
	u16 flags;
	u32 node;
	u32 baseline;
};
static_assert(sizeof(End) == 64, "one cache line");

// Bytes 8 to 11 of ::ffff:a.b.c.d, as loaded.
constexpr u32 MAPPED_PREFIX = 0xffff0000;

// An IPv4 address, the only kind that the mixes have; any other would be in a row of its own
// (wasm-modules/assembly/match/remote-addresses.ts).
struct RemoteAddress {
	u32 narrow;
	// 0 = it is an IPv4 address.
	u32 wide;

	u64 low() const
	{
		if (UNLIKELY(wide != 0)) __builtin_trap();
		return static_cast<u64>(narrow) << 32 | MAPPED_PREFIX;
	}

	void set(u64 high, u64 low)
	{
		if (UNLIKELY(high != 0 || static_cast<u32>(low) != MAPPED_PREFIX)) __builtin_trap();
		*this = {static_cast<u32>(low >> 32), 0};
	}
};

struct EndCold {
	u64 cookie;
	RemoteAddress remote;
	u32 viewpoint;
	u16 local_port;
	u16 remote_port;
	u8 role;
	u8 role_source;
	u8 close_reason;
	u8 protocol;
	u32 remote_node;
};
static_assert(sizeof(EndCold) == 32, "as in match/flow.ts");

// Totals of the two ends at the last close, where they are not what is booked (match/own-numbers.ts).
struct OwnTotals {
	u64 bytes_sent;
	u64 bytes_received;
	u64 segments_sent;
	u64 segments_received;
};

struct OwnRow {
	u64 head;
	OwnTotals client;
	OwnTotals server;
};

inline Pool<Flow> flows;
inline Pool<FlowCold> cold_flows;
inline Pool<FlowKey> flow_keys;
inline Pool<FlowExtras> extras;
inline Pool<End> ends;
inline Pool<EndCold> cold_ends;
inline Pool<OwnRow> own_rows;
inline u8 *flow_marks;
// By shard: the part of a shard stays in the cache while its flows are worked on.
inline Table flow_tables[SHARD_COUNT];
// Those that the open window touched, each once: last in, first out.
inline List<u32> touched_flows;

struct LingerList {
	u32 head;
	u32 tail;
	u32 size;
	u32 pad0;
};

inline LingerList linger_lists[SHARD_COUNT * 2];
inline u32 lingering_flows;
inline u32 linger_windows;
inline u32 committed_window;

inline void init_flows(u64 length_ns)
{
	flows.create(FLOW_COUNT_MAX);
	cold_flows.create(FLOW_COUNT_MAX);
	flow_keys.create(FLOW_COUNT_MAX);
	extras.create(2 * FLOW_COUNT_MAX);
	ends.create(END_COUNT_MAX);
	cold_ends.create(END_COUNT_MAX);
	own_rows.create(2 * FLOW_COUNT_MAX);
	flow_marks = allocate<u8>(FLOW_COUNT_MAX / 4 + 1);
	init_viewpoints();
	for (Table &table : flow_tables)
		table.create();
	linger_windows = static_cast<u32>((FLOW_LINGER_NS + length_ns - 1) / length_ns);
}

inline u32 flow_tag(u64 join_key)
{
	return hash_pair(join_key, 0);
}

// Nothing else was told of it.
inline void begin_flow(u32 flow, u64 join_key, u8 shard)
{
	zero(flows.at(flow));
	FlowCold *cold = cold_flows.at(flow);
	zero(cold);
	*flow_keys.at(flow) = {join_key, 0};
	cold->shard = shard;
}

// 0 when there are too many.
inline u32 take_flow()
{
	const u32 flow = flows.take();
	if (UNLIKELY(flow == 0)) return 0;
	cold_flows.take();
	flow_keys.take();
	return flow;
}

// 0 when there are too many.
inline u32 take_end()
{
	const u32 end = ends.take();
	if (LIKELY(end != 0)) cold_ends.take();
	return end;
}

inline u32 add_flow(u64 join_key, u32 tag, u8 shard)
{
	const u32 flow = take_flow();
	if (UNLIKELY(flow == 0)) return 0;
	begin_flow(flow, join_key, shard);
	flow_tables[shard].insert(tag, flow);
	return flow;
}

inline u32 find_flow(u64 join_key, u32 tag, u8 shard)
{
	return flow_tables[shard].find(tag, [=](u32 row) {
		const FlowKey *key = flow_keys.at(row);
		return key->high == join_key && key->low == 0 && cold_flows.at(row)->kind == KEY_KIND_JOIN;
	});
}

inline void give_end(u32 end)
{
	ends.give(end);
	cold_ends.give(end);
}

// What the row keeps says that it is free: it has no ends.
inline void give_flow(u32 flow)
{
	flows.at(flow)->ends[0] = flows.at(flow)->ends[1] = 0;
	flows.give(flow);
	cold_flows.give(flow);
	flow_keys.give(flow);
}

inline void forget_end(u32 end)
{
	if (end == 0) return;
	if (ends.at(end)->node != 0) release_node(ends.at(end)->node);
	if (UNLIKELY((cold_ends.at(end)->remote_node | cold_ends.at(end)->remote.wide) != 0)) __builtin_trap();
	release_viewpoint(cold_ends.at(end)->viewpoint);
	if (UNLIKELY((ends.at(end)->flags & END_CARRIES) != 0)) __builtin_trap();
	give_end(end);
}

inline u32 own_of(const FlowCold *cold)
{
	return cold->extras == 0 ? 0 : extras.at(cold->extras)->own;
}

// Rows of the ends' own totals are all that a flow of the mixes can have there.
inline OwnRow *open_own_totals(FlowCold *cold)
{
	if (cold->extras == 0) {
		cold->extras = extras.take();
		zero(extras.at(cold->extras));
	}
	FlowExtras *of_flow = extras.at(cold->extras);
	if (of_flow->own == 0) of_flow->own = own_rows.take();
	return own_rows.at(of_flow->own);
}

inline void drop_own_totals(FlowCold *cold)
{
	if (LIKELY(cold->extras == 0)) return;
	FlowExtras *of_flow = extras.at(cold->extras);
	if (of_flow->own == 0) return;
	own_rows.give(of_flow->own);
	of_flow->own = 0;
	if (UNLIKELY((of_flow->history | of_flow->exported | of_flow->member) != 0)) return;
	extras.give(cold->extras);
	cold->extras = 0;
}

// What the mixes have no flow of: history, what was exported, a place among the members of a pair of folds.
inline bool has_rare_rows(const FlowCold *cold)
{
	if (LIKELY(cold->extras == 0)) return false;
	const FlowExtras *of_flow = extras.at(cold->extras);
	return (of_flow->history | of_flow->exported | of_flow->member) != 0;
}

// Of a flow that is on no list.
inline void forget_flow(u32 flow)
{
	Flow *hot = flows.at(flow);
	FlowCold *cold = cold_flows.at(flow);
	flow_tables[cold->shard].remove(flow_tag(flow_keys.at(flow)->high), flow);
	if (UNLIKELY(has_rare_rows(cold))) __builtin_trap();
	drop_own_totals(cold);
	forget_end(hot->ends[0]);
	forget_end(hot->ends[1]);
	give_flow(flow);
}

inline u32 marks_of(u32 flow)
{
	return flow_marks[flow / 4] >> (flow % 4 * 2) & (MARK_TOUCHED | MARK_LINGERING);
}

inline void set_mark(u32 flow, FlowMark mark)
{
	flow_marks[flow / 4] |= static_cast<u8>(mark << (flow % 4 * 2));
}

inline void clear_mark(u32 flow, FlowMark mark)
{
	flow_marks[flow / 4] &= static_cast<u8>(~(mark << (flow % 4 * 2)));
}

inline LingerList &linger_list_of(const FlowCold *cold)
{
	return linger_lists[cold->shard * 2u + ((cold->flags & FLOW_FINISHED) != 0)];
}

inline void linger_flow(u32 flow, FlowCold *cold, u32 window, bool is_finished)
{
	if (is_finished) cold->flags |= FLOW_FINISHED;
	set_mark(flow, MARK_LINGERING);
	cold->linger_window = window;
	LingerList &list = linger_list_of(cold);
	cold->linger_previous = list.tail;
	flows.at(flow)->next = 0;
	if (list.tail == 0)
		list.head = flow;
	else
		flows.at(list.tail)->next = flow;
	list.tail = flow;
	list.size++;
	lingering_flows++;
}

inline void unlink_lingering(u32 flow, FlowCold *cold)
{
	const u32 next = flows.at(flow)->next;
	LingerList &list = linger_list_of(cold);
	if (cold->linger_previous == 0)
		list.head = next;
	else
		flows.at(cold->linger_previous)->next = next;
	if (next == 0)
		list.tail = cold->linger_previous;
	else
		cold_flows.at(next)->linger_previous = cold->linger_previous;
	cold->flags &= ~FLOW_FINISHED;
	clear_mark(flow, MARK_LINGERING);
	list.size--;
	lingering_flows--;
}

inline void touch_flow(u32 flow)
{
	const u32 marks = marks_of(flow);
	if ((marks & MARK_TOUCHED) != 0) return;
	if (UNLIKELY((marks & MARK_LINGERING) != 0)) unlink_lingering(flow, cold_flows.at(flow));
	set_mark(flow, MARK_TOUCHED);
	touched_flows.push(flow);
}

// Takes the flow that was touched last; 0 when there are `until` or fewer.
inline u32 take_touched(u32 until)
{
	if (touched_flows.size <= until) return 0;
	const u32 flow = touched_flows.items[--touched_flows.size];
	clear_mark(flow, MARK_TOUCHED);
	return flow;
}

// Forgets the oldest flow of the list; false when there is none up to `window`. The one after the next is fetched
// meanwhile, and of the next its ends and its slot.
inline bool forget_oldest(LingerList &list, u32 window)
{
	const u32 flow = list.head;
	if (flow == 0) return false;
	FlowCold *cold = cold_flows.at(flow);
	if (cold->linger_window > window) return false;
	const u32 next = flows.at(flow)->next;
	if (next != 0) {
		const u32 coming = flows.at(next)->next;
		prefetch_to_write(cold_flows.at(coming));
		prefetch_to_write(flow_keys.at(coming));
		prefetch_to_write(flows.at(coming));
		flow_tables[cold_flows.at(next)->shard].prefetch_slot(flow_tag(flow_keys.at(next)->high));
		for (u32 end : flows.at(next)->ends) {
			prefetch_to_write(ends.at(end));
			prefetch_to_write(cold_ends.at(end));
		}
	}
	unlink_lingering(flow, cold);
	forget_flow(flow);
	return true;
}

inline void forget_up_to(LingerList &list, u32 window)
{
	while (forget_oldest(list, window)) {}
}

// At the end of a close: forgets what has lingered long enough, then the oldest windows of lists that are too long.
inline void expire_lingering(u32 window)
{
	for (LingerList &list : linger_lists) {
		if (window >= linger_windows) forget_up_to(list, window - linger_windows);
		while (UNLIKELY(list.size > LIST_COUNT_MAX)) {
			const u32 before = list.size;
			forget_up_to(list, cold_flows.at(list.head)->linger_window);
			counters[records::REDUCER_COUNTER_FLOWS_EVICTED] += before - list.size;
		}
	}
}

// What finished up to the committed window is exported and no agent tells it again. Forgets one flow of it; false when
// there is none.
inline bool forget_committed(u32 shard)
{
	return forget_oldest(linger_lists[shard * 2 + 1], committed_window);
}
