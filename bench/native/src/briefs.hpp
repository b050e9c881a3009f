// Brief flows: both ends lived within one window, and one Once of each was all that was told
// (wasm-modules/assembly/match/{once-pairs,brief-flows}.ts). Which onces of a shard these are a table of its list says;
// they are booked in rows that are given back at once, and a copy of the rows is kept until their window is committed.
#pragma once

#include "flows.hpp"
#include "sessions.hpp"

constexpr u32 BRIEF_COUNT_MAX = 1 << 21;
constexpr u32 SHARD_BRIEFS_MAX = BRIEF_COUNT_MAX / SHARD_COUNT;
constexpr u32 CHAIN_BLOCK_BYTES = 1 << 15;
// Items of a block whose lines are fetched before their turn.
constexpr u32 ONCES_AHEAD = 4;
constexpr u32 BRIEFS_AHEAD = 2;

struct WaitingOnce {
	u32 tag;
	bool is_taken;
	// Of the other side, when these two are all that claim their key in the list.
	WaitingOnce *other;
	records::match_once once;
};

constexpr u32 ONCES_OF_BLOCK = (CHAIN_BLOCK_BYTES - 16) / sizeof(WaitingOnce);

struct OnceBlock {
	OnceBlock *next;
	u64 used;
	WaitingOnce items[ONCES_OF_BLOCK];
};
static_assert(sizeof(OnceBlock) <= CHAIN_BLOCK_BYTES, "a block of the arena");

struct OnceList {
	OnceBlock *first;
	OnceBlock *last;
	u32 size;
	// Of the first block.
	u32 passed;
};

inline OnceList once_lists[SHARD_COUNT];

struct KeySlot {
	// 0 = free: no key is 0.
	u64 join_key;
	WaitingOnce *sides[2];
};

inline KeySlot *key_slots;
inline u64 key_slots_bytes;

inline bool is_connect_failure(u8 reason)
{
	return reason >= kernel::CLOSE_REASON_CONNECT_REFUSED && reason <= kernel::CLOSE_REASON_CONNECT_OTHER;
}

inline u32 side_of(const records::match_open &open)
{
	return open.role == kernel::ROLE_SERVER;
}

// Finds the two ends of each connection in a list; returns how many connections there are.
inline u32 pair_onces(const OnceList &list)
{
	u32 size = 64;
	while (size * 2 < list.size * 3)
		size *= 2;
	const u64 bytes = size * sizeof(KeySlot);
	if (bytes > key_slots_bytes) {
		if (key_slots != nullptr) give_block(key_slots, key_slots_bytes);
		key_slots_bytes = 1ull << block_class(bytes);
		key_slots = static_cast<KeySlot *>(take_block(bytes));
	}
	__builtin_memset(key_slots, 0, bytes);
	u32 pairs = 0;
	for (OnceBlock *block = list.first; block != nullptr; block = block->next) {
		for (u64 index = 0; index < block->used; index++) {
			WaitingOnce *waiting = block->items + index;
			prefetch_lines(waiting + ONCES_AHEAD, sizeof *waiting);
			const records::match_open &open = waiting->once.open;
			// A connect that failed has no other end.
			if (UNLIKELY(is_connect_failure(waiting->once.reason))) continue;
			waiting->tag = flow_tag(open.join_key);
			u32 at = waiting->tag & (size - 1);
			while (key_slots[at].join_key != open.join_key && key_slots[at].join_key != 0)
				at = (at + 1) & (size - 1);
			KeySlot &slot = key_slots[at];
			slot.join_key = open.join_key;
			const u32 side = side_of(open);
			// A side that is claimed twice: the mixes have none.
			if (UNLIKELY(slot.sides[side] != nullptr)) __builtin_trap();
			slot.sides[side] = waiting;
			WaitingOnce *other = slot.sides[1 - side];
			if (other == nullptr) continue;
			waiting->other = other;
			other->other = waiting;
			pairs++;
		}
	}
	return pairs;
}

struct BriefEnd {
	End hot;
	EndCold cold;
};

struct Brief {
	Flow flow;
	FlowCold cold;
	FlowKey key;
	BriefEnd ends[2];
};
static_assert(sizeof(Brief) == 304, "as in match/brief-flows.ts");

constexpr u32 BRIEF_HEADER_BYTES = 16;
constexpr u32 BRIEFS_OF_BLOCK = (CHAIN_BLOCK_BYTES - BRIEF_HEADER_BYTES) / sizeof(Brief);

struct alignas(BRIEF_HEADER_BYTES) BriefBlock {
	BriefBlock *next;
	u32 used;
	alignas(BRIEF_HEADER_BYTES) Brief items[BRIEFS_OF_BLOCK];
};
static_assert(sizeof(BriefBlock) <= CHAIN_BLOCK_BYTES, "a block of the arena");

// Those of a shard in a window, and where each is by its tag: tag | place << 32, by linear probing.
struct BriefList {
	BriefList *next;
	u32 window;
	u32 mask;
	u64 *index;
	BriefBlock *first;
	BriefBlock *last;
	// Of the first block.
	u32 passed;
	u32 pad0;
};

// Oldest first.
struct ShardBriefs {
	BriefList *head;
	BriefList *tail;
	u32 size;
	u32 pad0;
};

inline ShardBriefs shard_briefs[SHARD_COUNT];

// Blocks are aligned to 64 bytes and lie behind the sessions.
inline u64 place_of(const Brief *brief)
{
	const auto base = reinterpret_cast<uintptr_t>(sessions);
	return (reinterpret_cast<uintptr_t>(brief) - base) / BRIEF_HEADER_BYTES;
}

inline const Brief *brief_at(u64 place)
{
	const auto base = reinterpret_cast<uintptr_t>(sessions);
	return reinterpret_cast<const Brief *>(base + place * BRIEF_HEADER_BYTES);
}

inline void begin_briefs(u32 shard, u32 window, u32 count)
{
	u32 slots = 8;
	while (slots < count * 2)
		slots *= 2;
	auto *list = static_cast<BriefList *>(take_block(sizeof(BriefList)));
	auto *index = static_cast<u64 *>(take_block(slots * sizeof(u64)));
	__builtin_memset(index, 0, slots * sizeof(u64));
	*list = {nullptr, window, slots - 1, index, nullptr, nullptr, 0, 0};
	ShardBriefs &kept = shard_briefs[shard];
	if (kept.tail == nullptr)
		kept.head = list;
	else
		kept.tail->next = list;
	kept.tail = list;
}

// Gives back the rows of a flow whose ends have closed.
inline void keep_brief(u32 flow, u32 tag, u32 shard)
{
	ShardBriefs &kept = shard_briefs[shard];
	BriefList *list = kept.tail;
	if (UNLIKELY(list->last == nullptr || list->last->used == BRIEFS_OF_BLOCK)) {
		auto *block = static_cast<BriefBlock *>(take_block(CHAIN_BLOCK_BYTES));
		block->next = nullptr;
		block->used = 0;
		if (list->last == nullptr)
			list->first = block;
		else
			list->last->next = block;
		list->last = block;
	}
	Brief *brief = list->last->items + list->last->used++;
	prefetch_lines(brief + 1, sizeof *brief);
	brief->flow = *flows.at(flow);
	brief->cold = *cold_flows.at(flow);
	brief->key = *flow_keys.at(flow);
	for (u32 slot = 0; slot < 2; slot++) {
		const u32 end = brief->flow.ends[slot];
		brief->ends[slot] = {*ends.at(end), *cold_ends.at(end)};
		ends.give(end);
		cold_ends.give(end);
	}
	flows.at(flow)->ends[0] = flows.at(flow)->ends[1] = 0;
	flows.give(flow);
	cold_flows.give(flow);
	flow_keys.give(flow);
	u32 slot = tag & list->mask;
	while (list->index[slot] != 0)
		slot = (slot + 1) & list->mask;
	list->index[slot] = place_of(brief) << 32 | tag;
	kept.size++;
}

// Where `is_brief` begins to look.
inline void look_for_brief(u32 tag, u32 shard)
{
	for (const BriefList *list = shard_briefs[shard].head; list != nullptr; list = list->next)
		if (list->index != nullptr) look_at(list->index + (tag & list->mask));
}

inline bool is_brief(u64 join_key, u32 tag, u32 shard)
{
	for (const BriefList *list = shard_briefs[shard].head; list != nullptr; list = list->next) {
		if (list->index == nullptr) continue;
		for (u32 slot = tag & list->mask; list->index[slot] != 0; slot = (slot + 1) & list->mask)
			if (static_cast<u32>(list->index[slot]) == tag &&
			    brief_at(list->index[slot] >> 32)->key.high == join_key)
				return true;
	}
	return false;
}

// Forgets one of the shard, up to `window`; false when there is none.
inline bool forget_oldest_brief(ShardBriefs &kept, u32 window)
{
	BriefList *list = kept.head;
	if (list == nullptr || list->window > window) return false;
	if (list->index != nullptr) give_block(list->index, (list->mask + 1ull) * sizeof(u64));
	list->index = nullptr;
	BriefBlock *block = list->first;
	if (block == nullptr) {
		kept.head = list->next;
		if (kept.head == nullptr) kept.tail = nullptr;
		give_block(list, sizeof(BriefList));
		return true;
	}
	Brief *brief = block->items + list->passed++;
	prefetch_lines(brief + BRIEFS_AHEAD, sizeof *brief);
	// Taken back, because it was told again.
	if (UNLIKELY(brief->flow.ends[0] == 0)) __builtin_trap();
	for (const BriefEnd &end : brief->ends) {
		release_node(end.hot.node);
		if (UNLIKELY((end.cold.remote_node | end.cold.remote.wide) != 0)) __builtin_trap();
		release_viewpoint(end.cold.viewpoint);
	}
	drop_own_totals(&brief->cold);
	kept.size--;
	if (list->passed < block->used) return true;
	list->passed = 0;
	list->first = block->next;
	give_block(block, CHAIN_BLOCK_BYTES);
	return true;
}

inline bool forget_committed_brief(u32 shard)
{
	return forget_oldest_brief(shard_briefs[shard], committed_window);
}

// At the end of a close: forgets what was kept long enough, then what is beyond the limit.
inline void expire_briefs(u32 window)
{
	for (ShardBriefs &kept : shard_briefs) {
		if (window >= linger_windows)
			while (forget_oldest_brief(kept, window - linger_windows)) {}
		while (UNLIKELY(kept.size > SHARD_BRIEFS_MAX)) {
			const u32 before = kept.size;
			const u32 oldest = kept.head->window;
			while (forget_oldest_brief(kept, oldest)) {}
			counters[records::REDUCER_COUNTER_FLOWS_EVICTED] += before - kept.size;
		}
	}
}
