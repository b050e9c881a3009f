// Who told an end, and at which local address; the sockets that a host has at one address share a row
// (wasm-modules/assembly/match/viewpoints.ts).
#pragma once

#include "containers.hpp"

struct Viewpoint {
	u32 tag;
	u32 references;
	u64 boot;
	u64 session;
	u64 identity;
	u64 address_space;
	u64 local_high;
	u64 local_low;
	u32 teller;
	u32 pad0;
};
static_assert(sizeof(Viewpoint) == 64, "one cache line");

inline Pool<Viewpoint> viewpoints;
inline Table viewpoint_table;
// The last that was asked for: the sockets of a host are told one after another.
inline u32 last_viewpoint;

inline void init_viewpoints()
{
	viewpoints.create(1 << 24);
	viewpoint_table.create();
}

// What makes a viewpoint.
struct Sight {
	u64 boot;
	u64 session;
	u64 identity;
	u64 address_space;
	u64 local_high;
	u64 local_low;
};

inline bool is_seen_from(u32 row, const Sight &sight)
{
	const Viewpoint *point = viewpoints.at(row);
	return point->local_low == sight.local_low && point->session == sight.session &&
	       point->local_high == sight.local_high && point->address_space == sight.address_space &&
	       point->identity == sight.identity && point->boot == sight.boot;
}

[[gnu::noinline]] inline u32 find_viewpoint(const Sight &sight)
{
	const u32 tag =
		hash_pair(stable_hash_pair(sight.session ^ sight.address_space, sight.local_high), sight.local_low);
	const u32 known = viewpoint_table.find(tag, [&](u32 row) { return is_seen_from(row, sight); });
	if (known != 0) return known;
	const u32 row = viewpoints.take();
	const u8 teller = static_cast<u8>(stable_hash_pair(sight.identity, 0));
	*viewpoints.at(row) = {tag,
			       0,
			       sight.boot,
			       sight.session,
			       sight.identity,
			       sight.address_space,
			       sight.local_high,
			       sight.local_low,
			       teller,
			       0};
	viewpoint_table.insert(tag, row);
	return row;
}

// Retained.
[[gnu::always_inline]] inline u32 viewpoint_of(const Sight &sight)
{
	if (UNLIKELY(last_viewpoint == 0 || !is_seen_from(last_viewpoint, sight)))
		last_viewpoint = find_viewpoint(sight);
	viewpoints.at(last_viewpoint)->references++;
	return last_viewpoint;
}

inline void release_viewpoint(u32 row)
{
	Viewpoint *point = viewpoints.at(row);
	if (--point->references != 0) return;
	viewpoint_table.remove(point->tag, row);
	viewpoints.give(row);
	if (last_viewpoint == row) last_viewpoint = 0;
}
