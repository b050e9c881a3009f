#pragma once

/* Walks over sockets, run by the agent: their output is what reading the iterator's descriptor returns, struct
 * socket_event back to back. A record that does not fit is asked for again, so a socket counts as told only after it
 * was written. */

#include "events.h"
#include "join_key.h"
#include "listener_state.h"
#include "owner.h"
#include "role.h"
#include "tcp_health.h"

static __always_inline int write_event(struct bpf_iter_meta *meta, __u16 type, const struct tcp_sock *tcp,
				       struct socket_state *state, const struct tcp_totals *totals)
{
	struct socket_event event;
	fill_event(&event, type, tcp, state, totals);
	if (bpf_seq_write(meta->seq, &event, sizeof(event)) != 0) return 0;
	state->told = *totals;
	return 1;
}

/* A socket without a descriptor belongs to no process, but its control group is known. */
static __always_inline void read_owner_of_socket(struct socket_owner *owner, const struct sock *sk)
{
	if (bpf_core_field_exists(sk->sk_cgrp_data)) owner->cgroup_id = READ(sk, sk_cgrp_data.cgroup, kn, id);
	owner->uid = sk->sk_uid.val;
}

/* Tells a connection that is older than the agent, or whose SocketOpen found the ring full, once. Without the socket's
 * lock the two reads of the key may straddle a segment, or the totals a FIN: the next walk adopts the socket then. The
 * last one tells a socket that is always amid some change without its last number, or most busy ones were never told;
 * not one whose key straddles a segment in it too, since a wrong key meets no other end. A socket without descriptor is
 * in none but the first, which has no lock before Linux 5.15. Who is left out is announced with its next change of
 * state, or adopted when lost opens make the agent walk again. */
static __always_inline void adopt(struct bpf_iter_meta *meta, struct sock *sk, enum totals_reader reader, int is_last)
{
	if (sk->sk_protocol != IPPROTO_TCP || !in_scope(sk)) return;
	struct tcp_sock *tcp = as_tcp(sk);
	if (!tcp || !is_connected(sk->__sk_common.skc_state)) return;
	struct socket_state *state = create_state(sk);
	if (!state || state->opening == OPENING_TOLD) return;

	if (state->owner.pid == 0) {
		read_owner_of_socket(&state->owner, sk);
		state->flags |= SOCKET_FLAG_OWNER_PROVISIONAL;
	}
	if (state->role == ROLE_UNKNOWN) read_role(state, tcp);
	state->join_key = read_join_key(tcp, state);
	if (state->start_time_ns == 0) state->health.retransmits_known = tcp->total_retrans;
	struct tcp_totals totals;
	if (read_totals(&totals, tcp, state, reader) && !is_last) return;
	look_again(tcp);
	if (state->join_key != read_join_key(tcp, state)) return;
	if (write_event(meta, announcement_type(state), tcp, state, &totals)) state->opening = OPENING_TOLD;
}

/* All sockets of the network namespace in which the iterator was made: idle ones, those in an accept queue, orphans. */
SEC("?iter/tcp")
int adopt_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tcp = common ? tcp_in_walk(common) : 0;
	if (tcp) adopt(ctx->meta, (struct sock *)tcp, reader_in_walk(), 0);
	return 0;
}

/* All sockets that some process holds, in every namespace, also those that no process has entered. Comes after
 * adopt_tcp. */
SEC("?iter/task_file")
int adopt_descriptors(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = sock_of_file(ctx->file);
	if (sk) adopt(ctx->meta, sk, READER_HOLDS_NONE, 1);
	return 0;
}

/* The first holder of a descriptor becomes the owner of a socket that has none; listeners hand theirs on to what they
 * accept. */
SEC("?iter/task_file")
int own_descriptors(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = sock_of_file(ctx->file);
	if (!task || !sk || sk->sk_protocol != IPPROTO_TCP || !in_scope(sk)) return 0;
	struct tcp_sock *tcp = as_tcp(sk);
	if (!tcp || sk->__sk_common.skc_state == TCP_CLOSE) return 0;
	int is_listener = sk->__sk_common.skc_state == TCP_LISTEN;
	if (is_listener) note_listener(tcp);
	struct socket_state *state = create_state(sk);
	if (!state || state->owner.pid != 0) return 0;
	if (is_listener) state->tcp_state = TCP_LISTEN;
	read_owner(&state->owner, task);
	state->flags |= SOCKET_FLAG_OWNER_PROVISIONAL;
	if (state->opening != OPENING_TOLD) return 0;
	struct tcp_totals totals = state->told;
	if (!write_event(ctx->meta, KERNEL_EVENT_TYPE_SOCKET_OWNER, tcp, state, &totals)) state->owner.pid = 0;
	return 0;
}

static __always_inline void tell_totals(struct bpf_iter_meta *meta, struct tcp_sock *tcp, struct socket_state *state,
					enum totals_reader reader, int also_idle)
{
	struct tcp_totals totals;
	int is_opening = state->opening == OPENING_WAITS;
	if ((!is_opening && state->opening != OPENING_TOLD) || state->tcp_state == TCP_CLOSE) return;
	read_totals(&totals, tcp, state, reader);
	/* Whoever closes it tells the rest. */
	if (tcp->inet_conn.icsk_inet.sk.__sk_common.skc_state == TCP_CLOSE) totals = state->told;
	keep_told(&totals, &state->told);
	note_zero_window(&state->health, tcp);
	if (is_opening) {
		int is_told = write_event(meta, KERNEL_EVENT_TYPE_SOCKET_OPEN, tcp, state, &totals);
		/* Unless it has closed meanwhile. */
		if (is_told && state->opening == OPENING_WAITS) state->opening = OPENING_TOLD;
	} else if (also_idle || have_moved(&totals, &state->told)) {
		write_event(meta, KERNEL_EVENT_TYPE_SOCKET_TOTALS, tcp, state, &totals);
	}
}

#ifndef SOCKET_VIEWS

/* Walks the states themselves, so orphans are included and files and threads cost nothing. */
static __always_inline int walk_states(struct bpf_iter__bpf_sk_storage_map *ctx, int also_idle)
{
	struct sock *sk = ctx->sk;
	struct socket_state *state = ctx->value;
	struct tcp_sock *tcp = sk && state ? as_tcp(sk) : 0;
	if (tcp) tell_totals(ctx->meta, tcp, state, READER_HOLDS_NONE, also_idle);
	return 0;
}

SEC("?iter/bpf_sk_storage_map")
int totals_storage(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return walk_states(ctx, 0);
}

/* Every socket that is alive: after closes were lost, those that are missing here have closed. */
SEC("?iter/bpf_sk_storage_map")
int live_storage(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return walk_states(ctx, 1);
}

SEC("?iter/task_file")
int totals_descriptors(struct bpf_iter__task_file *ctx)
{
	struct sock *sk = sock_of_file(ctx->file);
	if (!sk || sk->sk_protocol != IPPROTO_TCP || !in_scope(sk)) return 0;
	struct tcp_sock *tcp = as_tcp(sk);
	struct socket_state *state = tcp ? find_state(sk) : 0;
	if (state) tell_totals(ctx->meta, tcp, state, READER_HOLDS_NONE, 0);
	return 0;
}

#endif
