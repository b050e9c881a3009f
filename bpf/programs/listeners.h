#pragma once

/* Listening sockets, told whole by each walk: whoever is missing has closed. A SYN or a connection that finds no room
 * at a listener is counted by the kernel in the socket itself, as are the few segments that it takes for no SYN at all.
 */

#include "core_types.h"
#include "events.h"
#include "listener_state.h"

#ifndef SOCKET_VIEWS

static __always_inline void fill_listener(struct listener_event *event, struct tcp_sock *tcp,
					  const struct socket_state *state)
{
	const struct inet_sock *inet = &tcp->inet_conn.icsk_inet;
	const struct sock_common *common = &inet->sk.__sk_common;

	__builtin_memset(event, 0, sizeof(*event));
	event->type = KERNEL_EVENT_TYPE_LISTENER;
	event->size = sizeof(*event);
	event->cpu = bpf_get_smp_processor_id();
	event->time_ns = bpf_ktime_get_ns();
	event->cookie = bpf_get_socket_cookie((void *)tcp);
	event->netns = common->skc_net.net->ns.inum;
	event->local_port = bpf_ntohs(inet->inet_sport);
	if (common->skc_family == AF_INET || !bpf_core_field_exists(common->skc_v6_rcv_saddr)) {
		event->ip_version = 4;
		map_ipv4(event->local_address, common->skc_rcv_saddr);
	} else {
		event->ip_version = 6;
		bpf_probe_read_kernel(event->local_address, 16, &common->skc_v6_rcv_saddr);
	}
	if (!state) return;
	event->owner_start_time_ns = state->owner.start_time_ns;
	event->cgroup_id = state->owner.cgroup_id;
	event->owner_pid = state->owner.pid;
	event->owner_uid = state->owner.uid;
	__builtin_memcpy(event->owner_comm, state->owner.comm, sizeof(event->owner_comm));
}

SEC("?iter/bpf_sk_storage_map")
int listeners_storage(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct listener_state *listener = ctx->value;
	struct tcp_sock *tcp = sk && listener ? bpf_skc_to_tcp_sock(sk) : 0;
	if (!tcp || sk->__sk_common.skc_state != TCP_LISTEN) return 0;

	struct listener_event event;
	__u32 drops = sk->sk_drops.counter;
	fill_listener(&event, tcp, find_state(tcp));
	event.overflows = drops - listener->drops_told;
	if (bpf_seq_write(ctx->meta->seq, &event, sizeof(event)) == 0) listener->drops_told = drops;
	return 0;
}

#endif
