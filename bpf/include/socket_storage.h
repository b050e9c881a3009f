#pragma once

/* How the programs reach a socket and its state where the verifier knows the kernel's types: fields are loaded
 * directly, and the state lives in the socket itself and dies with it, so nothing is ever deleted or leaked.
 * BPF_F_CLONE: an accepted socket starts with its listener's state, that is with the listening process as its owner.
 * The same names for kernels that cannot do this: socket_views.h. */

#include "core_types.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct socket_state);
} socket_states SEC(".maps");

/* READ(pointer, a, b.c): pointer->a->b.c */
#define READ(...) ___arrow(__VA_ARGS__)

static __always_inline struct socket_state *find_state(void *sk)
{
	return bpf_sk_storage_get(&socket_states, sk, 0, 0);
}

static __always_inline struct socket_state *create_state(void *sk)
{
	return bpf_sk_storage_get(&socket_states, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline void clear_state(struct socket_state *state)
{
	__builtin_memset(state, 0, sizeof(*state));
}

/* A socket that has closed keeps its state, and may connect again. */
static __always_inline void forget_state(void *sk)
{
}

static __always_inline __u64 read_cookie(const struct tcp_sock *tcp, const struct socket_state *state)
{
	return bpf_get_socket_cookie((void *)tcp);
}

static __always_inline struct task_struct *current_task(void)
{
	return bpf_get_current_task_btf();
}

/* 0 when it is no TCP socket, or one of the small ones of a handshake or TIME_WAIT. */
static __always_inline struct tcp_sock *as_tcp(const void *sk)
{
	return bpf_skc_to_tcp_sock((void *)sk);
}

/* The socket that an iterator has come to; 0 as above. */
static __always_inline struct tcp_sock *tcp_in_walk(void *sk)
{
	return bpf_skc_to_tcp_sock(sk);
}

/* What is loaded from now on is what the kernel holds now. */
static __always_inline void look_again(const struct tcp_sock *tcp)
{
	order_loads();
}

/* A context field is read once: the verifier knows after a test that this copy is not null, and nothing of the next. */
static __always_inline struct sock *sock_of_file(struct file *file)
{
	if (!file) return 0;
	struct socket *socket = bpf_sock_from_file(file);
	return socket ? socket->sk : 0;
}
