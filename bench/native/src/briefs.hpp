// Brief flows: both ends lived within one window, and one Once of each was all that was told
// (wasm-modules/assembly/match/brief-flows.ts). One after the other is booked in the same rows. The two onces stay
// where they waited, with what they hold, until their window is committed.
#pragma once

#include "onces.hpp"

constexpr u32 BRIEF_COUNT_MAX = 1 << 21;
constexpr u32 SHARD_BRIEFS_MAX = BRIEF_COUNT_MAX / SHARD_COUNT;
constexpr u32 BRIEFS_AHEAD = 6;

// Those of a shard in a window.
struct BriefList {
	BriefList *next;
	u32 window;
	u32 pad1;
	// Without slots while it is being forgotten.
	KeyTable keys;
	// Of four bits for a slot those that the tags name: nearly all that is asked for is not here, and the table is
	// in no cache.
	u32 *filter;
	// All that waited in the shard, and how many of the first block are forgotten.
	OnceChain onces;
	u32 passed;
	u32 pad0;

	u64 filter_bytes() const
	{
		return (keys.mask + 1ull) / 2;
	}

	u32 &word_of(u32 tag) const
	{
		return filter[(tag & (keys.mask * 4 + 3)) / 32];
	}

	bool may_have(u32 tag) const
	{
		return (word_of(tag) >> (tag & 31) & 1) != 0;
	}
};

// Oldest first.
struct ShardBriefs {
	BriefList *head;
	BriefList *tail;
	u32 size;
	u32 pad0;
};

inline ShardBriefs shard_briefs[SHARD_COUNT];

// In which one brief flow after the other is booked in the course of a close; 0 = not taken.
struct BriefRows {
	u32 flow;
	u32 ends[2];
};

inline BriefRows brief_rows;

// The list of what is kept in the course of a shard's close.
inline BriefList *keeping;

inline void begin_briefs(u32 window, const KeyTable &keys)
{
	keeping = static_cast<BriefList *>(take_block(sizeof(BriefList)));
	*keeping = {nullptr, window, 0, keys, nullptr, {}, 0, 0};
	keeping->filter = static_cast<u32 *>(take_block(keeping->filter_bytes()));
	__builtin_memset(keeping->filter, 0, keeping->filter_bytes());
}

// All that waited in the shard was booked: its blocks stay with the briefs of the window, which nobody asked for yet.
inline void keep_onces(u32 shard, OnceChain &list)
{
	keeping->onces = list;
	list = {};
	ShardBriefs &kept = shard_briefs[shard];
	if (kept.tail == nullptr)
		kept.head = keeping;
	else
		kept.tail->next = keeping;
	kept.tail = keeping;
}

// The flow of the pair is booked.
inline void keep_brief(const FlowCold *cold, WaitingOnce *once, u32 shard)
{
	keeping->word_of(once->tag) |= 1u << (once->tag & 31);
	once->tag = cold->flags | static_cast<u32>(cold->client_slot) << 16;
	shard_briefs[shard].size++;
}

// The close is over: its rows are those of other flows again.
inline void end_briefs()
{
	if (brief_rows.flow == 0) return;
	give_end(brief_rows.ends[0]);
	give_end(brief_rows.ends[1]);
	give_flow(brief_rows.flow);
	brief_rows.flow = 0;
}

// Where `is_brief` begins to look.
inline void look_for_brief(u32 tag, u32 shard)
{
	for (const BriefList *list = shard_briefs[shard].head; list != nullptr; list = list->next)
		if (list->keys.slots != nullptr && list->may_have(tag))
			look_at(list->keys.slots + (tag & list->keys.mask));
}

inline bool is_brief(u64 join_key, u32 tag, u32 shard)
{
	for (const BriefList *list = shard_briefs[shard].head; list != nullptr; list = list->next) {
		const KeyTable &keys = list->keys;
		if (keys.slots == nullptr || LIKELY(!list->may_have(tag))) continue;
		for (u32 slot = tag & keys.mask; keys.slots[slot] != 0; slot = (slot + 1) & keys.mask)
			if (static_cast<u32>(keys.slots[slot]) == tag &&
			    once_at(static_cast<u32>(keys.slots[slot] >> 32))->join_key == join_key)
				return true;
	}
	return false;
}

inline void give_tables(BriefList *list)
{
	if (list->keys.slots == nullptr) return;
	give_block(list->keys.slots, list->keys.bytes());
	give_block(list->filter, list->filter_bytes());
	list->keys.slots = nullptr;
}

inline void release_once(const WaitingOnce *once)
{
	release_node(once->node);
	if (UNLIKELY((once->remote_node | once->remote.wide) != 0)) __builtin_trap();
	release_viewpoint(once->viewpoint);
}

// Forgets the next onces of the shard, up to `window`, at most GROUP; false when there are none.
inline bool forget_oldest_briefs(ShardBriefs &kept, u32 window)
{
	BriefList *list = kept.head;
	if (list == nullptr || list->window > window) return false;
	give_tables(list);
	OnceBlock *block = list->onces.first;
	if (block == nullptr) {
		kept.head = list->next;
		if (kept.head == nullptr) kept.tail = nullptr;
		give_block(list, sizeof(BriefList));
		return true;
	}
	const u32 used = list->onces.used_of(block);
	const u32 end = least(list->passed + GROUP, used);
	for (u32 index = list->passed; index < end; index++) {
		const WaitingOnce *once = block->items + index;
		prefetch_lines(once + BRIEFS_AHEAD, sizeof *once);
		release_once(once);
		kept.size -= once->other != TAKEN_ONCE;
	}
	list->passed = end;
	if (end < used) return true;
	list->passed = 0;
	list->onces.first = block->next;
	give_block(block, CHAIN_BLOCK_BYTES);
	return true;
}

inline bool forget_committed_briefs(u32 shard)
{
	return forget_oldest_briefs(shard_briefs[shard], committed_window);
}

// At the end of a close: forgets what was kept long enough, then what is beyond the limit.
inline void expire_briefs(u32 window)
{
	for (ShardBriefs &kept : shard_briefs) {
		if (window >= linger_windows)
			while (forget_oldest_briefs(kept, window - linger_windows)) {}
		while (UNLIKELY(kept.size > SHARD_BRIEFS_MAX)) {
			const u32 before = kept.size;
			const u32 oldest = kept.head->window;
			while (forget_oldest_briefs(kept, oldest)) {}
			counters[records::REDUCER_COUNTER_FLOWS_EVICTED] += before - kept.size;
		}
	}
}
