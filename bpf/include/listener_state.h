#pragma once

/* What is remembered of one listening socket, beside its state: without BPF_F_CLONE, because what it accepts is no
 * listener. So a walk over these meets listeners and nothing else. */

#include "socket_state.h"

struct listener_state {
	/* Of the kernel's count, as last told. */
	__u32 drops_told;
	__u32 pad0;
};

#ifndef SOCKET_VIEWS

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct listener_state);
} listener_states SEC(".maps");

/* `tcp` listens, now or since before the agent: what it dropped until now is history. */
static __always_inline void note_listener(struct tcp_sock *tcp)
{
	if (bpf_sk_storage_get(&listener_states, tcp, 0, 0)) return;
	struct listener_state *state = bpf_sk_storage_get(&listener_states, tcp, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (state) state->drops_told = tcp->inet_conn.icsk_inet.sk.sk_drops.counter;
}

#else

static __always_inline void note_listener(struct tcp_sock *tcp)
{
}

#endif
