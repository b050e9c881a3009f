// Sockets that lived within one window wait for its close, by shard: the shard's tables are in the core's cache while
// the list is claimed. What waits is half of a records::match_once, because memory's bandwidth is what a short
// connection costs most (wasm-modules/assembly/match/{onces,once-pairs}.ts).
#pragma once

#include "flows.hpp"

constexpr u32 CHAIN_BLOCK_BYTES = 1 << 15;
// Items of a block whose lines are fetched before their turn.
constexpr u32 ONCES_AHEAD = 6;

// What a Once says, and what it holds: its viewpoint and its node.
struct WaitingOnce {
	u64 join_key;
	u64 cookie;
	RemoteAddress remote;
	u64 duration_ns;
	// Of its key. When the flow of two is kept, the first of them has what it needs to be taken back: its flags and
	// the slot of its client.
	u32 tag;
	// Where the other side waits, when these two are all that claim their key in the list; TAKEN_ONCE: booked with
	// it.
	u32 other;
	u32 viewpoint;
	u32 node;
	u32 remote_node;
	u32 from_window;
	u32 start_time;
	u32 handshake_us;
	u32 bytes_sent;
	u32 bytes_received;
	u32 segments_sent;
	u32 segments_received;
	u32 retransmits;
	u32 srtt_us;
	u32 min_rtt_us;
	u16 local_port;
	u16 remote_port;
	u16 error;
	// wire::OPEN_FLAGS_*.
	u8 flags;
	u8 role;
	u8 role_source;
	u8 protocol;
	u8 reason;
	u8 phase;

	u32 slot() const
	{
		return role == kernel::ROLE_SERVER;
	}
};
static_assert(sizeof(WaitingOnce) == 104, "as in match/onces.ts");

constexpr u32 TAKEN_ONCE = 1;

constexpr u32 ONCES_OF_BLOCK = (CHAIN_BLOCK_BYTES - 16) / sizeof(WaitingOnce);

struct OnceBlock {
	OnceBlock *next;
	u64 pad0;
	WaitingOnce items[ONCES_OF_BLOCK];
};
static_assert(sizeof(OnceBlock) <= CHAIN_BLOCK_BYTES, "a block of the arena");

// Blocks of one list, all but the last of them full.
struct OnceChain {
	OnceBlock *first;
	OnceBlock *last;
	// Of the last block. Not in it: the heads of blocks share few sets of a cache, so whoever appends to all lists
	// in turn would find none there.
	u32 used;
	u32 size;

	u32 used_of(const OnceBlock *block) const
	{
		return block == last ? used : ONCES_OF_BLOCK;
	}
};

// Where a walk along a chain is.
struct OnceWalk {
	OnceBlock *block;
	u32 passed;
};

inline OnceChain once_lists[SHARD_COUNT];

inline bool is_connect_failure(u8 reason)
{
	return reason >= kernel::CLOSE_REASON_CONNECT_REFUSED && reason <= kernel::CLOSE_REASON_CONNECT_OTHER;
}

inline WaitingOnce *once_at(u32 place)
{
	return place_at<WaitingOnce>(place);
}

inline void add_block(OnceChain &list)
{
	auto *block = static_cast<OnceBlock *>(take_block(CHAIN_BLOCK_BYTES));
	block->next = nullptr;
	if (list.last == nullptr)
		list.first = block;
	else
		list.last->next = block;
	list.last = block;
	list.used = 0;
}

// What is staged goes over into the list of its shard with what it holds.
inline void defer_once(u32 shard, const WaitingOnce *once, u32 from_window)
{
	OnceChain &list = once_lists[shard];
	if (UNLIKELY(list.last == nullptr || list.used == ONCES_OF_BLOCK)) add_block(list);
	WaitingOnce *kept = list.last->items + list.used++;
	list.size++;
	*kept = *once;
	kept->from_window = from_window;
	// The lines of the next place that this one does not reach into.
	const u8 *next = reinterpret_cast<const u8 *>(kept + 1);
	prefetch_to_write(next + 63);
	prefetch_to_write(next + sizeof *kept - 1);
}

// The next of the list that was not taken along, or null.
inline WaitingOnce *next_once(const OnceChain &list, OnceWalk &walk)
{
	while (walk.block != nullptr) {
		const u32 used = list.used_of(walk.block);
		while (walk.passed < used) {
			WaitingOnce *waiting = walk.block->items + walk.passed++;
			if (waiting->other != TAKEN_ONCE) return waiting;
		}
		walk = {walk.block->next, 0};
	}
	return nullptr;
}

// Where the first one with a key is, by its tag: tag | place << 32, by linear probing. That of a list is kept with the
// brief flows in it.
struct KeyTable {
	u64 *slots;
	u32 mask;
	u32 pad0;

	u64 bytes() const
	{
		return (mask + 1ull) * sizeof(u64);
	}
};

// With free slots. Load at most 2/3.
inline KeyTable take_keys(u64 keys)
{
	u64 size = 8;
	while (size * 2 < keys * 3)
		size *= 2;
	KeyTable table = {nullptr, static_cast<u32>(size - 1), 0};
	table.slots = static_cast<u64 *>(take_block(table.bytes()));
	__builtin_memset(table.slots, 0, table.bytes());
	return table;
}

// Keeps it by its key, or with the other side, which came before it.
inline void meets(WaitingOnce *waiting, const KeyTable &keys)
{
	const u32 tag = flow_tag(waiting->join_key);
	waiting->tag = tag;
	for (u32 at = tag & keys.mask;; at = (at + 1) & keys.mask) {
		const u64 found = keys.slots[at];
		if (found == 0) {
			keys.slots[at] = static_cast<u64>(place_of(waiting)) << 32 | tag;
			return;
		}
		if (static_cast<u32>(found) != tag) continue;
		WaitingOnce *other = once_at(static_cast<u32>(found >> 32));
		if (UNLIKELY(other->join_key != waiting->join_key)) continue;
		// A side that is claimed twice: the mixes have none.
		if (UNLIKELY(other->other != 0 || other->slot() == waiting->slot())) __builtin_trap();
		waiting->other = place_of(other);
		other->other = place_of(waiting);
		return;
	}
}

// Finds the two ends of each connection in a list.
inline KeyTable pair_onces(const OnceChain &list)
{
	const KeyTable keys = take_keys(list.size);
	for (OnceBlock *block = list.first; block != nullptr; block = block->next) {
		const u32 used = list.used_of(block);
		for (u32 index = 0; index < used; index++) {
			WaitingOnce *waiting = block->items + index;
			prefetch_lines(waiting + ONCES_AHEAD, sizeof *waiting);
			// A connect that failed has no other end: the mixes have none.
			if (UNLIKELY(is_connect_failure(waiting->reason))) __builtin_trap();
			meets(waiting, keys);
		}
	}
	return keys;
}
