#pragma once

/* How the programs reach a socket and its state where pointers are mere numbers to the verifier (kprobes, classic
 * tracepoints), and on kernels without storage in sockets for programs that trace (before 5.11):
 *   - a program copies the socket as a whole, and what follows loads the fields of that copy, the view, as it would the
 *     socket's own. Pointers in it are followed with probe reads (READ);
 *   - states are in a hash by the socket's address. It is deleted at the close; where a close was not seen, the hash
 *     forgets what was used least, and a new socket at the address begins anew;
 *   - the cookie is one of our own, because such a program cannot ask the kernel for its.
 * The same names with direct loads: socket_storage.h. */

#include "core_types.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define SOCKET_STATES_MAX 131072
/* Of struct tcp_sock: 2 200 bytes on 5.10, 2 400 on 6.12. */
#define VIEW_BYTES_MAX 4096

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SOCKET_STATES_MAX);
	__type(key, __u64);
	__type(value, struct socket_state);
} socket_states SEC(".maps");

/* Of events.h. */
extern __u64 states_lost;
/* Sockets that have a state. At the limit the next one takes the row of the socket that was touched least recently,
 * which is then not observed; give or take the free rows that the kernel keeps for each processor. */
__u64 states_live;

struct socket_view {
	__u64 address;
	__u8 socket[VIEW_BYTES_MAX];
};

/* The kernel runs one program of these kinds at a time on a processor, and skips the others; only a walk may be
 * interrupted by one, so it has a view of its own. */
enum view_slot {
	VIEW_OF_PROBE,
	VIEW_OF_WALK,
	VIEW_SLOTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VIEW_SLOTS);
	__type(key, __u32);
	__type(value, struct socket_view);
} socket_views SEC(".maps");

#define READ(...) BPF_CORE_READ(__VA_ARGS__)

/* Returns 0 when the memory is not readable. The socket must be a full TCP socket. */
static __always_inline struct sock *view_socket(const void *sk, __u32 slot)
{
	__u32 bytes = bpf_core_type_size(struct tcp_sock);
	struct socket_view *view = bpf_map_lookup_elem(&socket_views, &slot);
	if (!view || bytes > VIEW_BYTES_MAX) return 0;
	if (bpf_probe_read_kernel(view->socket, bytes, sk) != 0) return 0;
	view->address = (__u64)sk;
	return (struct sock *)view->socket;
}

static __always_inline __u64 address_of_view(const void *sk)
{
	return *((const __u64 *)sk - 1);
}

static __always_inline struct socket_state *find_state_at(__u64 address)
{
	return bpf_map_lookup_elem(&socket_states, &address);
}

static __always_inline struct socket_state *find_state(const void *sk)
{
	return find_state_at(address_of_view(sk));
}

/* Two sockets cannot begin in the same nanosecond on the same processor. */
static __always_inline struct socket_state *create_state(const void *sk)
{
	__u64 address = address_of_view(sk);
	struct socket_state *state = bpf_map_lookup_elem(&socket_states, &address);
	if (state) return state;
	struct socket_state blank = {.cookie = bpf_ktime_get_ns() << 8 | (bpf_get_smp_processor_id() & 0xff)};
	if (bpf_map_update_elem(&socket_states, &address, &blank, BPF_NOEXIST) == 0) {
		__u64 *counter = states_live < SOCKET_STATES_MAX ? &states_live : &states_lost;
		__sync_fetch_and_add(counter, 1);
	}
	return bpf_map_lookup_elem(&socket_states, &address);
}

static __always_inline void clear_state(struct socket_state *state)
{
	__u64 cookie = state->cookie;
	__builtin_memset(state, 0, sizeof(*state));
	state->cookie = cookie;
}

static __always_inline void forget_state(const void *sk)
{
	__u64 address = address_of_view(sk);
	if (bpf_map_delete_elem(&socket_states, &address) == 0) __sync_fetch_and_add(&states_live, -1);
}

static __always_inline __u64 read_cookie(const struct tcp_sock *tcp, const struct socket_state *state)
{
	return state->cookie;
}

static __always_inline struct task_struct *current_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

static __always_inline struct tcp_sock *as_tcp(const void *sk)
{
	return (struct tcp_sock *)sk;
}

static __always_inline struct tcp_sock *tcp_in_walk(const void *sk)
{
	const struct sock *kernel_sk = sk;
	__u8 tcp_state = READ(kernel_sk, __sk_common.skc_state);
	if (tcp_state == TCP_TIME_WAIT || tcp_state == TCP_NEW_SYN_RECV) return 0;
	if (READ(kernel_sk, sk_protocol) != IPPROTO_TCP) return 0;
	return (struct tcp_sock *)view_socket(sk, VIEW_OF_WALK);
}

static __always_inline void look_again(const struct tcp_sock *tcp)
{
	order_loads();
	view_socket((const void *)address_of_view(tcp), VIEW_OF_WALK);
}

/* What tells a socket from other files where bpf_sock_from_file() is missing. */
extern const void socket_file_ops __ksym __weak;

static __always_inline const struct sock *find_sock(struct file *file)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_sock_from_file)) {
		const struct socket *socket = bpf_sock_from_file(file);
		return socket ? READ(socket, sk) : 0;
	}
	if (READ(file, f_op) != &socket_file_ops) return 0;
	const struct socket *socket = READ(file, private_data);
	return READ(socket, sk);
}

static __always_inline struct sock *sock_of_file(struct file *file)
{
	const struct sock *sk = file ? find_sock(file) : 0;
	__u16 family = sk ? READ(sk, __sk_common.skc_family) : 0;
	if (family != AF_INET && family != AF_INET6) return 0;
	return (struct sock *)tcp_in_walk(sk);
}
