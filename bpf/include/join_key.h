#pragma once

/* Both ends of a connection know both initial sequence numbers for as long as it lives:
 *   u = snd_una - bytes_acked, r = rcv_nxt - bytes_received      (modulo 2^32)
 *   active end: own = u, passive end: own = u - 1 (its SYN was never counted); peer = r - 1 on both
 * The key is a hash of the pair, the lesser number first: no address is in it, so no translation of addresses changes
 * it, and the ends need not agree who is the client (in a simultaneous open they cannot). The numbers themselves never
 * leave the kernel: whoever knows them can forge segments. */

#include "siphash.h"
#include "socket_state.h"

static __always_inline __u64 read_join_key(const struct tcp_sock *tcp, const struct socket_state *state)
{
	__u32 own = tcp->snd_una - (__u32)tcp->bytes_acked - !opened_actively(state);
	__u32 peer = tcp->rcv_nxt - (__u32)tcp->bytes_received - 1;
	__u64 pair = own < peer ? (__u64)peer << 32 | own : (__u64)own << 32 | peer;
	__u64 key = siphash_2_4(join_key_k0, join_key_k1, pair);
	return key ? key : 1; /* 0 means: not known */
}
