#pragma once

/* TCP connections, without a probe per packet:
 *   1. the state hook keeps each socket's state (role, owner, join key) in the socket and tells open, close and
 * failure;
 *   2. send and receive tell which process really uses an accepted socket;
 *   3. iterators adopt the sockets that are older than the agent, and tell running totals on demand. */

#include "core_types.h"
#include "config.h"
#include "close_reason.h"
#include "datagram_sockets.h"
#include "events.h"
#include "join_key.h"
#include "listener_state.h"
#include "owner.h"
#include "role.h"
#include "socket_state.h"
#include "tcp_health.h"
#include "tcp_totals.h"
#include <bpf/bpf_tracing.h>

/* connect(): the caller is the owner. A socket may connect again after a failure, so nothing of before may stay. */
static __always_inline void begin_connect(struct socket_state *state)
{
	clear_state(state);
	state->role = ROLE_CLIENT;
	state->role_source = ROLE_SOURCE_KERNEL;
	state->start_time_ns = bpf_ktime_get_ns();
	state->is_owner_known = read_owner(&state->owner, current_task());
}

static __always_inline void begin_listen(struct socket_state *state)
{
	clear_state(state);
	read_owner(&state->owner, current_task());
}

/* A new child, in softirq: of its listener's state it keeps the owner, until it is used. The cookie is not its own. */
static __always_inline void begin_accept(struct socket_state *state)
{
	state->role = ROLE_SERVER;
	state->role_source = ROLE_SOURCE_KERNEL;
	state->state = 0;
	state->flags = SOCKET_FLAG_OWNER_PROVISIONAL;
	state->owner_changes = 0;
	state->opening = OPENING_NONE;
	state->is_owner_known = 0;
	state->start_time_ns = bpf_ktime_get_ns();
	__builtin_memset(&state->told, 0, sizeof(state->told));
	__builtin_memset(&state->health, 0, sizeof(state->health));
}

/* The beginning of an accepted socket was not seen: its state is its listener's still, and would make it an older one.
 */
static __always_inline int is_inherited(const struct socket_state *state, int own_state)
{
	return state->tcp_state == TCP_LISTEN && own_state != TCP_LISTEN;
}

static __always_inline void open_simultaneously(struct socket_state *state)
{
	state->state |= STATE_SIMULTANEOUS_OPEN;
	state->role = ROLE_SERVER;
	state->role_source = ROLE_SOURCE_KERNEL;
}

/* DNS messages count for their connection as they come. */
static __always_inline int may_wait(const struct tcp_sock *tcp, __u16 type)
{
	const struct inet_sock *inet = &tcp->inet_conn.icsk_inet;
	if (!openings_wait || type != KERNEL_EVENT_TYPE_SOCKET_OPEN) return 0;
	return inet->sk.__sk_common.skc_dport != bpf_htons(DNS_PORT) && inet->inet_sport != bpf_htons(DNS_PORT);
}

/* The handshake is over: both sequence numbers are known. A socket that passed it unseen is older than the agent. */
static __always_inline void announce(struct tcp_sock *tcp, struct socket_state *state)
{
	__u16 type = announcement_type(state);
	if (state->role == ROLE_UNKNOWN) read_role(state, tcp);
	state->join_key = read_join_key(tcp, state);
	if (type == KERNEL_EVENT_TYPE_SOCKET_ADOPTED) state->health.retransmits_known = tcp->total_retrans;
	int is_patient = may_wait(tcp, type);
	if (!(is_patient && !is_owner_news(state)) && try_send_event(type, tcp, state, 0, 0)) {
		state->opening = OPENING_TOLD;
	} else if (is_patient) {
		state->opening = OPENING_WAITS;
	} else if (state->opening != OPENING_LOST) {
		state->opening = OPENING_LOST;
		count_loss(type);
	}
}

/* The socket has another owner. */
static __always_inline void tell_owner(const struct tcp_sock *tcp, struct socket_state *state)
{
	if (state->opening == OPENING_TOLD) {
		if (!try_send_in_use(KERNEL_EVENT_TYPE_SOCKET_OWNER, tcp, state))
			count_loss(KERNEL_EVENT_TYPE_SOCKET_OWNER);
	} else if (state->opening == OPENING_WAITS && is_owner_news(state)) {
		if (try_send_in_use(KERNEL_EVENT_TYPE_SOCKET_OPEN, tcp, state)) state->opening = OPENING_TOLD;
	}
}

/* FIN_WAIT1 and LAST_ACK are entered by close() or shutdown(), so the current task is one that holds the socket. */
static __always_inline void note_close_call(struct tcp_sock *tcp, struct socket_state *state)
{
	int is_news = is_provisional(state) && take_owner(state, current_task());
	if (is_news) tell_owner(tcp, state);
	if (tcp->inet_conn.icsk_inet.sk.sk_shutdown == SHUTDOWN_MASK) {
		state->state |= STATE_CLOSED_BOTH_WAYS;
		state->data_segments_at_close = tcp->data_segs_in;
	}
}

/* `is_late`: the socket has left `old_state` unseen, and what the kernel knew then may have changed. */
static __always_inline void end_connection(struct tcp_sock *tcp, struct socket_state *state, int old_state, int is_late)
{
	if (state->join_key != 0) {
		__u8 reason = read_close_reason(tcp, state, old_state);
		if (is_late) reason = correct_close_reason(tcp, old_state, reason);
		if (reason == CLOSE_REASON_RESET_SENT || reason == CLOSE_REASON_RESET_RECEIVED)
			state->phase = phase_of(old_state);
		note_zero_window(&state->health, tcp);
		if (state->opening == OPENING_WAITS) state->flags |= SOCKET_FLAG_OPENS;
		send_end(KERNEL_EVENT_TYPE_SOCKET_CLOSE, tcp, state, reason, tcp->inet_conn.icsk_inet.sk.sk_err);
		state->opening = OPENING_NONE;
		state->join_key = 0;
	} else if (old_state == TCP_SYN_SENT || opened_actively(state)) {
		state->role = ROLE_CLIENT;
		state->role_source = ROLE_SOURCE_KERNEL;
		/* ICMP refuses as well: the reset is what tells. */
		if (state->state & STATE_RESET_RECEIVED) state->phase = CONNECTION_PHASE_ESTABLISH;
		end_handshake(&state->health, tcp);
		int error = read_connect_error(tcp);
		if (is_late && error == 0) error = infer_connect_error(&state->health);
		send_end(KERNEL_EVENT_TYPE_CONNECT_FAILED, tcp, state, read_connect_failure(tcp, state, error), error);
	}
}

static __always_inline void change_connection(struct tcp_sock *tcp, struct socket_state *state, int old_state,
					      int new_state)
{
	int in_handshake = old_state == TCP_SYN_SENT || old_state == TCP_SYN_RECV;
	/* A handshake survives the reset that answers a stray segment. */
	if (in_handshake && new_state != TCP_CLOSE) {
		state->state &= ~STATE_RESET_SENT;
		end_handshake(&state->health, tcp);
		if (state->start_time_ns != 0) state->health.handshake_us = read_handshake_us(state, tcp, old_state);
	}
	if (!is_known(state) && !(new_state == TCP_CLOSE && in_handshake)) announce(tcp, state);
	if (new_state == TCP_FIN_WAIT1 || new_state == TCP_LAST_ACK) note_close_call(tcp, state);
	if (new_state == TCP_CLOSE) end_connection(tcp, state, old_state, 0);
}

static __always_inline void change_state(struct tcp_sock *tcp, struct socket_state *state, int old_state, int new_state)
{
	switch (new_state) {
	case TCP_SYN_SENT:
		begin_connect(state);
		break;
	case TCP_LISTEN:
		begin_listen(state);
		note_listener(tcp);
		break;
	case TCP_SYN_RECV:
		if (old_state == TCP_SYN_SENT)
			open_simultaneously(state);
		else
			begin_accept(state);
		break;
	default:
		/* A listener that closes ends no connection. */
		if (old_state != TCP_LISTEN) change_connection(tcp, state, old_state, new_state);
	}
	state->tcp_state = new_state;
}

/* A socket's changes come one at a time, under its lock. */
static __always_inline int follow_state(struct sock *sk, int old_state, int new_state, int is_second)
{
	if (sk->sk_protocol != IPPROTO_TCP || !in_scope(sk)) return 0;
	if (new_state == TCP_CLOSE && old_state == TCP_CLOSE) return 0;
	struct tcp_sock *tcp = as_tcp(sk);
	if (!tcp) return 0;
	struct socket_state *state = create_state(sk);
	if (!state) {
		if (is_second) __sync_fetch_and_add(&states_lost, 1);
		return 0;
	}
	if (state->tcp_state == new_state) return 0;
	if (is_second) __sync_fetch_and_add(&changes_rescued, 1);
	if (state->tcp_state != 0 && state->tcp_state != old_state) __sync_fetch_and_add(&changes_missed, 1);
	if (is_inherited(state, old_state)) begin_accept(state);
	change_state(tcp, state, old_state, new_state);
	if (new_state == TCP_CLOSE) forget_state(sk);
	return 0;
}

static __always_inline int is_before_open(__u8 tcp_state)
{
	return tcp_state == TCP_SYN_SENT || tcp_state == TCP_SYN_RECV || tcp_state == TCP_LISTEN;
}

/* A socket that is freed has closed. If the state hook was skipped then, its end is told now: most often a connect that
 * timed out, which the kernel gives up in a timer's interrupt and the process closes later. */
static __always_inline int note_destruction(struct socket_state *state, struct tcp_sock *tcp)
{
	/* Older than the agent, and not adopted. */
	if (state->tcp_state == 0 && !is_known(state)) return 0;
	if (state->tcp_state == TCP_LISTEN) {
		if (tcp->bytes_received == 0) return 0;
		begin_accept(state);
	}
	if (!is_known(state) && has_connected(tcp, state)) {
		if (is_before_open(state->tcp_state)) state->tcp_state = TCP_ESTABLISHED;
		announce(tcp, state);
	}
	__sync_fetch_and_add(&ends_rescued, 1);
	end_connection(tcp, state, state->tcp_state, 1);
	state->tcp_state = TCP_CLOSE;
	return 0;
}

/* A socket that is used is open. If the state hook was skipped then, it is told now. The kernel holds no lock here:
 * when the two reads of the key straddle a segment, the next use tells it. */
static __always_inline void note_opening(struct tcp_sock *tcp, struct socket_state *state)
{
	__u8 tcp_state = tcp->inet_conn.icsk_inet.sk.__sk_common.skc_state;
	if (!is_before_open(state->tcp_state) || !is_connected(tcp_state)) return;
	if (is_inherited(state, tcp_state)) begin_accept(state);
	__u64 key = read_join_key(tcp, state);
	look_again(tcp);
	if (key != read_join_key(tcp, state)) return;
	state->tcp_state = TCP_ESTABLISHED;
	__sync_fetch_and_add(&openings_rescued, 1);
	announce(tcp, state);
}

/* A process sends or receives: it owns the socket from now on, if that is news. */
static __always_inline int note_use(struct sock *sk)
{
	if (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6) return 0;
	if (sk->sk_protocol != IPPROTO_TCP || !in_scope(sk)) return 0;
	struct socket_state *state = find_state(sk);
	if (!state) return 0;
	int is_news = take_owner(state, current_task());
	int is_opening_due = state->opening == OPENING_NONE;
	if (!is_news && !is_opening_due) return 0;
	struct tcp_sock *tcp = as_tcp(sk);
	if (tcp && is_opening_due)
		note_opening(tcp, state);
	else if (tcp)
		tell_owner(tcp, state);
	return 0;
}

static __always_inline int note_reset(struct sock *sk, __u8 flag)
{
	if (sk->sk_protocol != IPPROTO_TCP || !in_scope(sk)) return 0;
	struct socket_state *state = find_state(sk);
	if (state) state->state |= flag;
	return 0;
}

/* The programs proper, where the verifier knows the kernel's types; elsewhere those of tcp_kprobes.h. */
#ifndef SOCKET_VIEWS

/* The change that the first program saw last on a processor: almost always the one that the second is called for, which
 * then has not even to ask for the socket's state. The first notes it as it begins, so a change for which it was
 * skipped finds that of another socket here. */
struct noted_change {
	__u64 sk;
	__u64 new_state;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct noted_change);
} noted_changes SEC(".maps");

static __always_inline void note_change(const struct sock *sk, int new_state)
{
	__u32 only = 0;
	struct noted_change *noted = bpf_map_lookup_elem(&noted_changes, &only);
	if (!noted) return;
	noted->sk = (__u64)sk;
	noted->new_state = new_state;
}

static __always_inline int is_noted(const struct sock *sk, int new_state)
{
	__u32 only = 0;
	const struct noted_change *noted = bpf_map_lookup_elem(&noted_changes, &only);
	return noted && noted->sk == (__u64)sk && noted->new_state == (__u64)new_state;
}

/* The kernel skips a program that is active on the same processor already: a softirq that comes while the state of some
 * socket is followed would change others unseen, as many as it has packets for. So there are two programs. One of them
 * at most is active when a softirq comes, and a softirq is interrupted by none. Whichever sees a change first follows
 * it; the other finds it done. */
SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state_btf, struct sock *sk, int old_state, int new_state)
{
	note_change(sk, new_state);
	return follow_state(sk, old_state, new_state, 0);
}

SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state_again_btf, struct sock *sk, int old_state, int new_state)
{
	return is_noted(sk, new_state) ? 0 : follow_state(sk, old_state, new_state, 1);
}

SEC("?tp_btf/sock_send_length")
int BPF_PROG(socket_send_btf, struct sock *sk)
{
	return note_use(sk);
}

SEC("?tp_btf/sock_recv_length")
int BPF_PROG(socket_receive_btf, struct sock *sk)
{
	if (is_udp_socket(sk)) return note_datagram_use(sk);
	return note_use(sk);
}

SEC("?fentry/tcp_sendmsg")
int BPF_PROG(socket_send_fentry, struct sock *sk)
{
	return note_use(sk);
}

SEC("?fentry/tcp_recvmsg")
int BPF_PROG(socket_receive_fentry, struct sock *sk)
{
	return note_use(sk);
}

SEC("?tp_btf/tcp_receive_reset")
int BPF_PROG(reset_received_btf, struct sock *sk)
{
	return note_reset(sk, STATE_RESET_RECEIVED);
}

/* The kernel passes no socket when it answers a segment that belongs to none, or the small one of a TIME_WAIT. */
SEC("?tp_btf/tcp_send_reset")
int BPF_PROG(reset_sent_btf, struct sock *sk)
{
	struct tcp_sock *tcp = sk ? as_tcp(sk) : 0;
	return tcp ? note_reset((struct sock *)tcp, STATE_RESET_SENT) : 0;
}

SEC("?tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroyed_btf, struct sock *sk)
{
	/* What is out of scope has no state. */
	struct socket_state *state = find_state(sk);
	if (!state || state->tcp_state == TCP_CLOSE) return 0;
	struct tcp_sock *tcp = as_tcp(sk);
	return tcp ? note_destruction(state, tcp) : 0;
}

/* The kernel is about to note, or has just noted, that it sent a segment again. */
SEC("?tp_btf/tcp_retransmit_skb")
int BPF_PROG(retransmit_btf, const struct sock *sk)
{
	if (!in_scope(sk)) return 0;
	struct tcp_sock *tcp = as_tcp(sk);
	struct socket_state *state = tcp ? find_state(tcp) : 0;
	if (state && (state->tcp_state != 0 || is_known(state)))
		count_retransmits(&state->health, tcp, retransmits_of_this_kind(&state->health, tcp));
	return 0;
}

/* An application takes data out of the socket: the window opens again after that, so whether it was shut shows now. A
 * window that stays shut shows in the walk of the totals. */
SEC("?tp_btf/tcp_rcv_space_adjust")
int BPF_PROG(zero_window_btf, struct sock *sk)
{
	struct tcp_sock *tcp = as_tcp(sk);
	if (!tcp || tcp->rcv_wnd != 0 || !in_scope(sk)) return 0;
	struct socket_state *state = find_state(tcp);
	if (state) note_zero_window(&state->health, tcp);
	return 0;
}

#endif

#include "iterators.h"
