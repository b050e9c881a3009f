#pragma once

/* TCP connections on kernels where the programs of tcp.h do not load: the same logic on views of the sockets
 * (socket_views.h), behind tracepoints of the classic kind where there is one, and kprobes. */

#include "tcp.h"
#include <linux/ptrace.h>

/* As /sys/kernel/tracing/events/sock/inet_sock_set_state/format tells. */
struct state_change {
	__u64 common;
	const void *sk;
	int old_state;
	int new_state;
	__u16 local_port;
	__u16 remote_port;
	__u16 family;
	__u16 protocol;
};

/* As events/tcp/tcp_receive_reset/format and tcp_destroy_sock/format begin. */
struct of_socket {
	__u64 common;
	const void *sk;
};

/* As events/tcp/tcp_retransmit_skb/format begins. */
struct retransmit {
	__u64 common;
	const void *packet;
	const void *sk;
};

SEC("?tp/sock/inet_sock_set_state")
int tcp_state_tracepoint(struct state_change *change)
{
	if (change->protocol != IPPROTO_TCP) return 0;
	struct sock *sk = view_socket(change->sk, VIEW_OF_PROBE);
	if (!sk) return 0;
	int is_new = change->new_state == TCP_SYN_RECV && change->old_state != TCP_SYN_SENT;
	/* The close of the socket that was at this address was not seen. */
	if (is_new) forget_state(sk);
	return follow_state(sk, change->old_state, change->new_state, 0);
}

/* The state of a socket whose close was seen is gone. */
SEC("?tp/tcp/tcp_destroy_sock")
int tcp_destroyed_tracepoint(struct of_socket *destroyed)
{
	struct socket_state *state = find_state_at((__u64)destroyed->sk);
	struct sock *sk = state ? view_socket(destroyed->sk, VIEW_OF_PROBE) : 0;
	if (!sk) return 0;
	note_destruction(state, as_tcp(sk));
	forget_state(sk);
	return 0;
}

/* Only of news a view is made: a socket is used far more often than it changes its owner. */
static __always_inline int note_use_at(const void *address)
{
	struct socket_state *state = find_state_at((__u64)address);
	if (!state || !take_owner(state, current_task()) || !is_known(state)) return 0;
	struct sock *sk = view_socket(address, VIEW_OF_PROBE);
	if (sk) tell_owner(as_tcp(sk), state);
	return 0;
}

SEC("?kretprobe/inet_csk_accept")
int BPF_KRETPROBE(accept_kretprobe, const void *sk)
{
	return note_use_at(sk);
}

SEC("?kprobe/tcp_sendmsg")
int BPF_KPROBE(socket_send_kprobe, const void *sk)
{
	return note_use_at(sk);
}

SEC("?kprobe/tcp_recvmsg")
int BPF_KPROBE(socket_receive_kprobe, const void *sk)
{
	return note_use_at(sk);
}

SEC("?tp/tcp/tcp_receive_reset")
int reset_received_tracepoint(struct of_socket *reset)
{
	struct socket_state *state = find_state_at((__u64)reset->sk);
	if (state) state->state |= STATE_RESET_RECEIVED;
	return 0;
}

SEC("?kprobe/tcp_reset")
int BPF_KPROBE(reset_received_kprobe, const void *sk)
{
	struct socket_state *state = find_state_at((__u64)sk);
	if (state) state->state |= STATE_RESET_RECEIVED;
	return 0;
}

/* The kernel has counted it when it tells. */
SEC("?tp/tcp/tcp_retransmit_skb")
int retransmit_tracepoint(struct retransmit *retransmit)
{
	struct socket_state *state = find_state_at((__u64)retransmit->sk);
	if (!state) return 0;
	struct tcp_sock *tcp = (struct tcp_sock *)view_socket(retransmit->sk, VIEW_OF_PROBE);
	if (tcp && (state->tcp_state != 0 || is_known(state)))
		count_retransmits(&state->health, tcp, retransmits_of_this_kind(&state->health, tcp));
	return 0;
}

SEC("?kprobe/tcp_rcv_space_adjust")
int BPF_KPROBE(zero_window_kprobe, const struct tcp_sock *tcp)
{
	if (READ(tcp, rcv_wnd) != 0) return 0;
	struct socket_state *state = find_state_at((__u64)tcp);
	const struct sock *view = state ? view_socket(tcp, VIEW_OF_PROBE) : 0;
	if (view) note_zero_window(&state->health, as_tcp(view));
	return 0;
}

static __always_inline int walk_namespace(struct bpf_iter__tcp *ctx, int also_idle)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tcp = common ? tcp_in_walk(common) : 0;
	struct socket_state *state = tcp ? find_state(tcp) : 0;
	if (state) tell_totals(ctx->meta, tcp, state, reader_in_walk(), also_idle);
	return 0;
}

SEC("?iter/tcp")
int totals_tcp(struct bpf_iter__tcp *ctx)
{
	return walk_namespace(ctx, 0);
}

SEC("?iter/tcp")
int live_tcp(struct bpf_iter__tcp *ctx)
{
	return walk_namespace(ctx, 1);
}
