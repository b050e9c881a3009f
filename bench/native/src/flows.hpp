// Flows with their two ends, the table by join key, the list of those that the open window touched and the lists of
// those that linger (wasm-modules/assembly/match/{flow,flow-table}.ts). Rows have the same bytes there.
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
	FLOW_DIRTY = 1,
	FLOW_BOOKED = 2,
	FLOW_CONNECTION_COUNTED = 4,
	FLOW_CLOSED_COUNTED = 8,
	FLOW_RESET_COUNTED = 16,
	FLOW_JUDGED = 64,
	FLOW_ACTIVE = 128,
	FLOW_LINGERING = 256,
	FLOW_FINISHED = 512,
	FLOW_RENAMED = 1024,
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
	u32 next_dirty;
};
static_assert(sizeof(Flow) == 64, "one cache line");

struct FlowCold {
	u64 key_high;
	u64 key_low;
	u32 linger_next;
	u32 linger_previous;
	u32 linger_window;
	u32 named_version;
	u16 flags;
	u16 generation;
	u8 kind;
	u8 shard;
	u8 client_slot;
	u8 pad0;
	u32 history;
	u32 exported;
	u32 member;
	u32 begin_time;
	u32 own;
	u32 tallies;
};
static_assert(sizeof(FlowCold) == 64, "one cache line");

enum EndFlag : u16 {
	END_REPORTED = 1,
	END_FRESH = 2,
	END_HELD = 4,
	END_EXISTING = 8,
	END_COUNTED = 16,
	END_CLOSED = 32,
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

struct EndCold {
	u64 cookie;
	u64 remote_high;
	u64 remote_low;
	u32 viewpoint;
	u16 local_port;
	u16 remote_port;
	u8 role;
	u8 role_source;
	u8 close_reason;
	u8 protocol;
	u32 carried;
	u32 remote_node;
	u32 pad0;
};
static_assert(sizeof(EndCold) == 48, "as in match/flow.ts");

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
inline Pool<End> ends;
inline Pool<EndCold> cold_ends;
inline Pool<OwnRow> own_rows;
// By shard: the part of a shard stays in the cache while its flows are worked on.
inline Table flow_tables[SHARD_COUNT];
inline u32 dirty_flows;

struct LingerList {
	u32 head;
	u32 tail;
	u32 size;
	u32 pad0;
};

inline LingerList linger_lists[SHARD_COUNT * 2];
inline u32 linger_windows;
inline u32 committed_window;

inline void init_flows(u64 length_ns)
{
	flows.create(FLOW_COUNT_MAX);
	cold_flows.create(FLOW_COUNT_MAX);
	ends.create(END_COUNT_MAX);
	cold_ends.create(END_COUNT_MAX);
	own_rows.create(FLOW_COUNT_MAX);
	init_viewpoints();
	for (Table &table : flow_tables)
		table.create();
	linger_windows = static_cast<u32>((FLOW_LINGER_NS + length_ns - 1) / length_ns);
}

inline u32 flow_tag(u64 join_key)
{
	return hash_pair(join_key, 0);
}

// In no table; 0 when there are too many.
inline u32 new_flow(u64 join_key, u8 shard)
{
	const u32 flow = flows.take();
	if (UNLIKELY(flow == 0)) return 0;
	cold_flows.take();
	zero(flows.at(flow));
	FlowCold *cold = cold_flows.at(flow);
	zero(cold);
	cold->key_high = join_key;
	cold->shard = shard;
	return flow;
}

inline u32 add_flow(u64 join_key, u32 tag, u8 shard)
{
	const u32 flow = new_flow(join_key, shard);
	if (LIKELY(flow != 0)) flow_tables[shard].insert(tag, flow);
	return flow;
}

inline u32 find_flow(u64 join_key, u32 tag, u8 shard)
{
	return flow_tables[shard].find(tag, [=](u32 row) {
		const FlowCold *cold = cold_flows.at(row);
		return cold->key_high == join_key && cold->key_low == 0 && cold->kind == 0;
	});
}

inline void forget_end(u32 end)
{
	if (end == 0) return;
	if (ends.at(end)->node != 0) release_node(ends.at(end)->node);
	release_viewpoint(cold_ends.at(end)->viewpoint);
	ends.give(end);
	cold_ends.give(end);
}

inline void drop_own_totals(FlowCold *cold)
{
	if (LIKELY(cold->own == 0)) return;
	own_rows.give(cold->own);
	cold->own = 0;
}

// Of a flow that is on no list.
inline void forget_flow(u32 flow)
{
	Flow *hot = flows.at(flow);
	FlowCold *cold = cold_flows.at(flow);
	drop_own_totals(cold);
	flow_tables[cold->shard].remove(flow_tag(cold->key_high), flow);
	forget_end(hot->ends[0]);
	forget_end(hot->ends[1]);
	hot->ends[0] = hot->ends[1] = 0;
	flows.give(flow);
	cold_flows.give(flow);
}

inline LingerList &linger_list_of(const FlowCold *cold)
{
	return linger_lists[cold->shard * 2u + ((cold->flags & FLOW_FINISHED) != 0)];
}

inline void linger_flow(u32 flow, FlowCold *cold, u32 window, bool is_finished)
{
	cold->flags |= is_finished ? FLOW_LINGERING | FLOW_FINISHED : FLOW_LINGERING;
	cold->linger_window = window;
	LingerList &list = linger_list_of(cold);
	cold->linger_previous = list.tail;
	cold->linger_next = 0;
	if (list.tail == 0)
		list.head = flow;
	else
		cold_flows.at(list.tail)->linger_next = flow;
	list.tail = flow;
	list.size++;
}

inline void unlink_lingering(FlowCold *cold)
{
	LingerList &list = linger_list_of(cold);
	if (cold->linger_previous == 0)
		list.head = cold->linger_next;
	else
		cold_flows.at(cold->linger_previous)->linger_next = cold->linger_next;
	if (cold->linger_next == 0)
		list.tail = cold->linger_previous;
	else
		cold_flows.at(cold->linger_next)->linger_previous = cold->linger_previous;
	cold->flags &= ~(FLOW_LINGERING | FLOW_FINISHED);
	list.size--;
}

inline void touch_flow(u32 flow)
{
	FlowCold *cold = cold_flows.at(flow);
	if ((cold->flags & FLOW_DIRTY) != 0) return;
	if (UNLIKELY((cold->flags & FLOW_LINGERING) != 0)) unlink_lingering(cold);
	cold->flags |= FLOW_DIRTY;
	flows.at(flow)->next_dirty = dirty_flows;
	dirty_flows = flow;
}

// Forgets the oldest flow of the list; false when there is none up to `window`. The one after the next is fetched
// meanwhile, and of the next its ends and its slot.
inline bool forget_oldest(LingerList &list, u32 window)
{
	const u32 flow = list.head;
	if (flow == 0) return false;
	FlowCold *cold = cold_flows.at(flow);
	if (cold->linger_window > window) return false;
	const u32 next = cold->linger_next;
	if (next != 0) {
		const FlowCold *coming = cold_flows.at(next);
		prefetch_to_write(cold_flows.at(coming->linger_next));
		prefetch_to_write(flows.at(coming->linger_next));
		flow_tables[coming->shard].prefetch_slot(flow_tag(coming->key_high));
		for (u32 end : flows.at(next)->ends) {
			prefetch_to_write(ends.at(end));
			prefetch_to_write(cold_ends.at(end));
		}
	}
	unlink_lingering(cold);
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
