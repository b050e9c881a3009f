// The pairs of onces that a shard books next are looked at before: which edge they are on, its leaf, and the leaf's
// tallies. Each step is made for a whole group before the next step
// (wasm-modules/assembly/match/pair-look-ahead.ts). So is where a brief flow with their key would be.
#pragma once

#include "briefs.hpp"
#include "tallies.hpp"

// Of a leaf: a connection that came and went has about so many.
constexpr u32 TALLIES_AHEAD = 8;

// Where the edge of a pair is probably named.
inline u32 edge_tag_of(const WaitingOnce *once, const WaitingOnce *other)
{
	const bool is_server = once->slot() != 0;
	const WaitingOnce *client = is_server ? other : once;
	const WaitingOnce *server = is_server ? once : other;
	return edge_tag(client->node, server->node, server->local_port | static_cast<u32>(server->protocol) << 16);
}

// `found`: the tags of `size` edges, which are overwritten; 0 = nothing.
inline void look_at_leaves(u32 *found, u32 size)
{
	for (u32 index = 0; index < size; index++) {
		found[index] = edge_table.first_row(found[index]);
		if (found[index] == 0) continue;
		look_at(edges.at(found[index]));
		look_at(channel_edges.at(found[index]));
	}
	for (u32 index = 0; index < size; index++) {
		if (found[index] == 0) continue;
		found[index] = channel_edges.at(found[index])->leaf;
		if (found[index] != 0) look_at_row(found[index]);
	}
	for (u32 index = 0; index < size; index++) {
		if (found[index] == 0) continue;
		found[index] = rows.at(found[index])->tallies;
		if (found[index] != 0) look_at(tallies.at(found[index]));
	}
	for (u32 step = 1; step < TALLIES_AHEAD; step++) {
		for (u32 index = 0; index < size; index++) {
			if (found[index] == 0) continue;
			found[index] = tallies.at(found[index])->next;
			if (found[index] != 0) look_at(tallies.at(found[index]));
		}
	}
}

// What `next_once` gives next of the shard's list. Returns how many onces they are, at most GROUP.
inline u32 look_at_onces(const OnceChain &list, OnceWalk walk, u32 shard)
{
	const WaitingOnce *onces[GROUP];
	u32 found[GROUP];
	u32 size = 0;
	while (size < GROUP) {
		const WaitingOnce *once = next_once(list, walk);
		if (once == nullptr) break;
		// One that is told without its other end: the mixes have none.
		if (UNLIKELY(once->other == 0)) __builtin_trap();
		look_for_brief(once->tag, shard);
		prefetch_lines(once_at(once->other), sizeof *once);
		onces[size++] = once;
	}
	for (u32 index = 0; index < size; index++) {
		found[index] = edge_tag_of(onces[index], once_at(onces[index]->other));
		edge_table.prefetch_slot(found[index]);
	}
	look_at_leaves(found, size);
	return size;
}
