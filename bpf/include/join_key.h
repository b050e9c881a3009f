#pragma once

/* Both ends of a connection know both initial sequence numbers for as long as it lives:
 *   u = snd_una - bytes_acked, r = rcv_nxt - bytes_received      (modulo 2^32)
 *   active end: own = u, passive end: own = u - 1 (its SYN was never counted); peer = r - 1 on both
 * The key is a hash of (client's, server's): no address is in it, so no translation of addresses changes it.
 * The numbers themselves never leave the kernel: whoever knows them can forge segments. */

#include "siphash.h"
#include "socket_state.h"

static __always_inline __u64 read_join_key(const struct tcp_sock *tcp, struct socket_state *state)
{
	__u32 own = tcp->snd_una - (__u32)tcp->bytes_acked;
	__u32 peer = tcp->rcv_nxt - (__u32)tcp->bytes_received - 1;
	__u32 client, server;
	if (state->state & STATE_SIMULTANEOUS_OPEN) {
		/* Both ends opened actively. They agree by order: the lesser number is the client's. */
		state->role = own < peer ? ROLE_CLIENT : ROLE_SERVER;
		client = own < peer ? own : peer;
		server = own < peer ? peer : own;
	} else if (state->role == ROLE_CLIENT) {
		client = own;
		server = peer;
	} else {
		client = peer;
		server = own - 1;
	}
	__u64 key = siphash_2_4(join_key_k0, join_key_k1, (__u64)server << 32 | client);
	return key ? key : 1; /* 0 means: not known */
}
