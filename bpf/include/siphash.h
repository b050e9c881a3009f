#pragma once

/* SipHash-2-4 (Aumasson, Bernstein 2012) of one 8-byte message, the only length that is needed. */

#include <linux/types.h>

#define SIPHASH_ROTATE(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))

#define SIPHASH_ROUND                                                                                                  \
	do {                                                                                                           \
		v0 += v1;                                                                                              \
		v1 = SIPHASH_ROTATE(v1, 13) ^ v0;                                                                      \
		v0 = SIPHASH_ROTATE(v0, 32);                                                                           \
		v2 += v3;                                                                                              \
		v3 = SIPHASH_ROTATE(v3, 16) ^ v2;                                                                      \
		v0 += v3;                                                                                              \
		v3 = SIPHASH_ROTATE(v3, 21) ^ v0;                                                                      \
		v2 += v1;                                                                                              \
		v1 = SIPHASH_ROTATE(v1, 17) ^ v2;                                                                      \
		v2 = SIPHASH_ROTATE(v2, 32);                                                                           \
	} while (0)

static inline __attribute__((always_inline)) __u64 siphash_2_4(__u64 k0, __u64 k1, __u64 message)
{
	/* The last block carries the message's length in its top byte. */
	const __u64 last = 8ULL << 56;
	__u64 v0 = k0 ^ 0x736f6d6570736575ULL;
	__u64 v1 = k1 ^ 0x646f72616e646f6dULL;
	__u64 v2 = k0 ^ 0x6c7967656e657261ULL;
	__u64 v3 = k1 ^ 0x7465646279746573ULL;

	v3 ^= message;
	SIPHASH_ROUND;
	SIPHASH_ROUND;
	v0 ^= message;
	v3 ^= last;
	SIPHASH_ROUND;
	SIPHASH_ROUND;
	v0 ^= last;
	v2 ^= 0xff;
	SIPHASH_ROUND;
	SIPHASH_ROUND;
	SIPHASH_ROUND;
	SIPHASH_ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}
