// Rows by dense handle, hash tables of rows, growing lists, and the hashes that place keys: as in
// wasm-modules/assembly/lib.
#pragma once

#include "base.hpp"

// Rows of one size by handle; 0 is no row. A row that was given back is given out again, newest first, with its bytes
// but the first four.
//
// A 64-bit process reserves the range of all rows that there may be, so a row is one multiplication away. A WebAssembly
// memory has no room for that: there rows lie in pages, as in lib/row-pool.ts.
template <typename T> struct Pool {
#ifdef __wasm__
	static constexpr u32 PAGE_SHIFT = 9;
	static constexpr u32 PAGE_ROWS = 1 << PAGE_SHIFT;
	T **pages;
#else
	T *rows;
#endif
	u32 count_max;
	u32 fresh;
	u32 free_head;
	u32 live;

	void create(u32 most)
	{
		static_assert(sizeof(T) % 8 == 0, "rows stay aligned");
#ifdef __wasm__
		pages = allocate<T *>((most >> PAGE_SHIFT) + 1);
#else
		rows = allocate<T>(static_cast<u64>(most) + 1);
#endif
		count_max = most;
		fresh = 1;
	}

	T *at(u32 handle)
	{
#ifdef __wasm__
		return pages[handle >> PAGE_SHIFT] + (handle & (PAGE_ROWS - 1));
#else
		return rows + handle;
#endif
	}

	void ensure(u32 handle)
	{
#ifdef __wasm__
		T *&page = pages[handle >> PAGE_SHIFT];
		if (UNLIKELY(page == nullptr)) page = allocate<T>(PAGE_ROWS);
#else
		(void)handle;
#endif
	}

	u32 take()
	{
		if (UNLIKELY(live >= count_max)) return 0;
		live++;
		const u32 freed = free_head;
		if (freed != 0) {
			__builtin_memcpy(&free_head, at(freed), sizeof free_head);
			return freed;
		}
		ensure(fresh);
		return fresh++;
	}

	void give(u32 handle)
	{
		__builtin_memcpy(at(handle), &free_head, sizeof free_head);
		free_head = handle;
		live--;
	}
};

template <typename T> struct List {
	T *items;
	u32 size;
	u32 capacity;

	void push(T item)
	{
		if (UNLIKELY(size == capacity)) reserve(capacity == 0 ? 1024 : static_cast<u64>(capacity) * 2);
		items[size++] = item;
	}

	// What comes new is zero.
	void reserve(u64 wanted)
	{
		if (wanted <= capacity) return;
		T *grown = static_cast<T *>(take_block(wanted * sizeof(T)));
		if (capacity != 0) {
			__builtin_memcpy(grown, items, capacity * sizeof(T));
			give_block(items, capacity * sizeof(T));
		}
		__builtin_memset(grown + capacity, 0, (wanted - capacity) * sizeof(T));
		items = grown;
		capacity = static_cast<u32>(wanted);
	}
};

// Linear probing, slot = tag | row << 32, load at most 2/3, no tombstones. The tag is the whole hash; keys lie in the
// rows.
struct Table {
	u64 *slots;
	u32 mask;
	u32 count;

	void create()
	{
		mask = 63;
		slots = static_cast<u64 *>(take_block(64 * sizeof(u64)));
		__builtin_memset(slots, 0, 64 * sizeof(u64));
	}

	// The first row of `tag` that `is_key` accepts, or 0.
	template <typename IsKey> u32 find(u32 tag, IsKey is_key) const
	{
		for (u32 slot = tag & mask;; slot = (slot + 1) & mask) {
			const u64 found = slots[slot];
			if (found == 0) return 0;
			if (static_cast<u32>(found) == tag && LIKELY(is_key(static_cast<u32>(found >> 32))))
				return static_cast<u32>(found >> 32);
		}
	}

	void prefetch_slot(u32 tag) const
	{
		prefetch(slots + (tag & mask));
	}

	// The row where a search for `tag` begins, or 0.
	u32 first_row(u32 tag) const
	{
		return static_cast<u32>(slots[tag & mask] >> 32);
	}

	void insert(u32 tag, u32 row)
	{
		if (UNLIKELY((count + 1ull) * 3 > (mask + 1ull) * 2)) grow();
		place(tag, row);
		count++;
	}

	void remove(u32 tag, u32 row)
	{
		const u64 wanted = static_cast<u64>(row) << 32 | tag;
		u32 hole = tag & mask;
		while (slots[hole] != wanted)
			hole = (hole + 1) & mask;
		count--;
		for (u32 slot = (hole + 1) & mask; slots[slot] != 0; slot = (slot + 1) & mask) {
			const u32 home = static_cast<u32>(slots[slot]) & mask;
			if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
			slots[hole] = slots[slot];
			hole = slot;
		}
		slots[hole] = 0;
	}

private:
	void place(u32 tag, u32 row)
	{
		u32 slot = tag & mask;
		while (slots[slot] != 0)
			slot = (slot + 1) & mask;
		slots[slot] = static_cast<u64>(row) << 32 | tag;
	}

	void grow()
	{
		u64 *old = slots;
		const u64 old_slots = mask + 1ull;
		slots = static_cast<u64 *>(take_block(old_slots * 2 * sizeof(u64)));
		__builtin_memset(slots, 0, old_slots * 2 * sizeof(u64));
		mask = mask * 2 + 1;
		for (u64 slot = 0; slot < old_slots; slot++)
			if (old[slot] != 0) place(static_cast<u32>(old[slot]), static_cast<u32>(old[slot] >> 32));
		give_block(old, old_slots * sizeof(u64));
	}
};

// SipHash-1-3 of two words. Tables are seeded, because agents choose the keys; shards and tellers are not.
inline u64 seed_low, seed_high;

inline u64 rotate(u64 value, int by)
{
	return value << by | value >> (64 - by);
}

struct SipState {
	u64 v0, v1, v2, v3;

	void round()
	{
		v0 += v1;
		v2 += v3;
		v1 = rotate(v1, 13) ^ v0;
		v3 = rotate(v3, 16) ^ v2;
		v0 = rotate(v0, 32);
		v2 += v1;
		v0 += v3;
		v1 = rotate(v1, 17) ^ v2;
		v3 = rotate(v3, 21) ^ v0;
		v2 = rotate(v2, 32);
	}

	void word(u64 m)
	{
		v3 ^= m;
		round();
		v0 ^= m;
	}
};

inline u64 hash_words(u64 k0, u64 k1, u64 a, u64 b)
{
	SipState state{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
		       k1 ^ 0x7465646279746573};
	state.word(a);
	state.word(b);
	state.word(16ull << 56);
	state.v2 ^= 0xff;
	state.round();
	state.round();
	state.round();
	return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

inline u32 hash_pair(u64 a, u64 b)
{
	const u64 hash = hash_words(seed_low, seed_high, a, b);
	return static_cast<u32>(hash ^ hash >> 32);
}

inline u64 stable_hash_pair(u64 a, u64 b)
{
	return hash_words(0x7472696275746172, 0x7921000100030001, a, b);
}
