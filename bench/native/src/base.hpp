// What every file needs: integers, the layouts of schemas/ as generated C, branch hints and prefetch, and memory.
//
// Nothing of a library is used, so the same code compiles to a freestanding WebAssembly object.
#pragma once

#include <stdint.h>

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using i32 = int32_t;
using i64 = int64_t;

// The generated headers take these names from the kernel's headers or, of an eBPF program, from the program.
using __u8 = u8;
using __u16 = u16;
using __u32 = u32;
using __u64 = u64;
using __s8 = int8_t;
using __s16 = int16_t;
using __s32 = i32;
using __s64 = i64;
#define __bpf__
namespace kernel
{
#include "kernel_events.h"
}
namespace wire
{
#include "wire.h"
}
namespace records
{
#include "records.h"
}
#undef __bpf__

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

inline void prefetch(const void *address)
{
	__builtin_prefetch(address);
}

inline void prefetch_to_write(const void *address)
{
	__builtin_prefetch(address, 1);
}

inline void prefetch_lines(const void *address, u64 bytes)
{
	for (u64 line = 0; line < bytes; line += 64)
		prefetch_to_write(static_cast<const u8 *>(address) + line);
}

// Of a row in a group of rows that are needed soon. WebAssembly cannot fetch ahead: there the row is read, as
// reducer.wasm does it, so that the core waits for all rows of the group at once.
inline void look_at(const void *address)
{
#ifdef __wasm__
	(void)*static_cast<const volatile u8 *>(address);
#else
	prefetch_to_write(address);
#endif
}

// Rows or records that are looked at before the first of them is worked on.
constexpr u32 GROUP = 16;

inline u64 load64(const void *address)
{
	u64 value;
	__builtin_memcpy(&value, address, sizeof value);
	return value;
}

// Order of two texts of equal length. Without a library there is no memcmp.
inline int compare_bytes(const u8 *a, const u8 *b, u32 bytes)
{
#ifdef __wasm__
	for (u32 at = 0; at < bytes; at++)
		if (a[at] != b[at]) return a[at] - b[at];
	return 0;
#else
	return __builtin_memcmp(a, b, bytes);
#endif
}

template <typename T> inline void zero(T *at)
{
	__builtin_memset(at, 0, sizeof(T));
}

template <typename T> inline T least(T a, T b)
{
	return a < b ? a : b;
}

template <typename T> inline T greatest(T a, T b)
{
	return a > b ? a : b;
}

// One range of zeros that is taken from its start and never given back. The machine's pages come when they are touched.
struct Arena {
	u8 *start;
	u8 *top;
	u8 *end;

	void create(u8 *from, u8 *to)
	{
		start = top = from;
		end = to;
	}

	void *take(u64 bytes)
	{
		u8 *at = top;
		const u64 left = reinterpret_cast<uintptr_t>(end) - reinterpret_cast<uintptr_t>(top);
		if (UNLIKELY(bytes > left)) __builtin_trap();
		top += (bytes + 63) & ~63ull;
		return at;
	}
};

inline Arena arena;

template <typename T> inline T *allocate(u64 count)
{
	return static_cast<T *>(arena.take(count * sizeof(T)));
}

// A place in the arena as 32 bits, for what is aligned to 8 bytes; 0 and 1 are none.
constexpr u64 ARENA_BYTES_MAX = 32ull << 30;

inline u32 place_of(const void *at)
{
#ifdef __wasm__
	return reinterpret_cast<uintptr_t>(at);
#else
	return static_cast<u32>(static_cast<u64>(static_cast<const u8 *>(at) - arena.start) / 8);
#endif
}

template <typename T> inline T *place_at(u32 place)
{
#ifdef __wasm__
	return reinterpret_cast<T *>(place);
#else
	return reinterpret_cast<T *>(arena.start + place * 8ull);
#endif
}

// Blocks are powers of two, so that one that was given back fits the next of its class.
inline void *free_blocks[40];

inline u32 block_class(u64 bytes)
{
	return bytes <= 64 ? 6 : 64 - static_cast<u32>(__builtin_clzll(bytes - 1));
}

// Of what is in it no use may be made.
inline void *take_block(u64 bytes)
{
	const u32 shift = block_class(bytes);
	void *freed = free_blocks[shift];
	if (freed == nullptr) return arena.take(1ull << shift);
	free_blocks[shift] = *static_cast<void **>(freed);
	return freed;
}

inline void give_block(void *block, u64 bytes)
{
	const u32 shift = block_class(bytes);
	*static_cast<void **>(block) = free_blocks[shift];
	free_blocks[shift] = block;
}

inline u64 counters[records::REDUCER_COUNTER_END];

inline void count(u32 counter)
{
	counters[counter]++;
}

inline void count_refusal(u32 reason)
{
	counters[records::REDUCER_COUNTER_REFUSED_BY + reason]++;
}
