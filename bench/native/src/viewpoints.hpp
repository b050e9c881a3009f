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

inline bool is_seen_from(u32 row, const records::match_open *open)
{
	const Viewpoint *point = viewpoints.at(row);
	return point->local_low == load64(open->local_address + 8) && point->session == open->session &&
	       point->local_high == load64(open->local_address) && point->address_space == open->address_space &&
	       point->identity == open->identity && point->boot == open->boot;
}

// The one from which `open` is told, retained.
inline u32 viewpoint_of(const records::match_open *open)
{
	u32 row = last_viewpoint;
	if (UNLIKELY(row == 0 || !is_seen_from(row, open))) {
		const u64 high = load64(open->local_address);
		const u64 low = load64(open->local_address + 8);
		const u32 tag = hash_pair(stable_hash_pair(open->session ^ open->address_space, high), low);
		row = viewpoint_table.find(tag, [=](u32 found) { return is_seen_from(found, open); });
		if (UNLIKELY(row == 0)) {
			row = viewpoints.take();
			const u8 teller = static_cast<u8>(stable_hash_pair(open->identity, 0));
			*viewpoints.at(row) = {
				tag, 0,	     open->boot, open->session, open->identity, open->address_space, high,
				low, teller, 0};
			viewpoint_table.insert(tag, row);
		}
		last_viewpoint = row;
	}
	viewpoints.at(row)->references++;
	return row;
}

inline void release_viewpoint(u32 row)
{
	Viewpoint *point = viewpoints.at(row);
	if (--point->references != 0) return;
	viewpoint_table.remove(point->tag, row);
	viewpoints.give(row);
	if (last_viewpoint == row) last_viewpoint = 0;
}
