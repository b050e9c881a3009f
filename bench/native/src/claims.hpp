// Which host announced which address: a socket that uses somebody else's is refused
// (wasm-modules/assembly/match/claimed-addresses.ts). Announced before anything is measured; looked up for every socket
// that opens.
#pragma once

#include "containers.hpp"

struct Claim {
	u64 high;
	u64 low;
	u64 space;
	u64 boot;
};

inline Pool<Claim> claims;
inline Table claim_table;
inline bool is_last_known;

inline void init_claims()
{
	claims.create(1 << 18);
	claim_table.create();
}

inline u32 claim_tag(u64 high, u64 low, u64 space)
{
	return hash_pair(stable_hash_pair(high, space), low);
}

inline void add_claim(u64 high, u64 low, u64 space, u64 boot)
{
	const u32 row = claims.take();
	*claims.at(row) = {high, low, space, boot};
	claim_table.insert(claim_tag(high, low, space), row);
	is_last_known = false;
}

inline bool find_foreign(u64 high, u64 low, u64 space, u64 boot)
{
	bool is_claimed = false;
	const u32 own = claim_table.find(claim_tag(high, low, space), [&](u32 row) {
		const Claim *claim = claims.at(row);
		if (claim->high != high || claim->low != low || claim->space != space) return false;
		is_claimed = true;
		return claim->boot == boot;
	});
	return own == 0 && is_claimed;
}

// The last that was asked for: the sockets of a host are told one after another.
inline Claim last_asked;
inline bool is_last_foreign;

inline bool is_foreign_address(u64 high, u64 low, u64 space, u64 boot)
{
	const bool is_same = is_last_known && last_asked.low == low && last_asked.high == high &&
			     last_asked.space == space && last_asked.boot == boot;
	if (UNLIKELY(!is_same)) {
		last_asked = {high, low, space, boot};
		is_last_foreign = find_foreign(high, low, space, boot);
		is_last_known = true;
	}
	return is_last_foreign;
}
