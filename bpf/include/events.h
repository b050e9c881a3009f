#pragma once

/* The way out: struct socket_event, in the ring and from the iterators alike (schemas/kernel-events.fbs). */

#include "core_types.h"
#include "config.h"
#include "deferred.h"
#include "executables.h"
#include "socket_state.h"
#include "tcp_totals.h"
#include <bpf/bpf_endian.h>

/* KERNEL_EVENT_TYPE_* are below. */
#define EVENT_TYPES_MAX 16

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} events SEC(".maps");

/* Events that found the ring full, by type. The reader maps these pages. */
__u64 events_lost[EVENT_TYPES_MAX];
/* Sockets whose state found no memory: they are not observed. */
__u64 states_lost;
/* Changes of state that the first program was skipped for, and the second followed. */
__u64 changes_rescued;
/* Openings and ends that no program saw when they came, told as the socket was used or freed. */
__u64 openings_rescued;
__u64 ends_rescued;
/* Changes that neither saw, as the next one of the socket shows. Of the last one there is no next. */
__u64 changes_missed;

static __always_inline void map_ipv4(__u8 *address, __be32 ipv4)
{
	address[10] = 0xff;
	address[11] = 0xff;
	__builtin_memcpy(address + 12, &ipv4, sizeof(ipv4));
}

static __always_inline void fill_tuple(struct socket_event *event, const struct tcp_sock *tcp)
{
	const struct sock_common *common = &tcp->inet_conn.icsk_inet.sk.__sk_common;
	event->protocol = IPPROTO_TCP;
	event->netns = READ(common, skc_net.net, ns.inum);
	event->remote_port = bpf_ntohs(common->skc_dport);
	/* A socket without a port of its own choice has given it back (skc_num) before CLOSE is told. */
	event->local_port = bpf_ntohs(tcp->inet_conn.icsk_inet.inet_sport);
	if (common->skc_family == AF_INET || !bpf_core_field_exists(common->skc_v6_daddr)) {
		event->ip_version = 4;
		map_ipv4(event->local_address, common->skc_rcv_saddr);
		map_ipv4(event->remote_address, common->skc_daddr);
		return;
	}
	bpf_probe_read_kernel(event->local_address, 16, &common->skc_v6_rcv_saddr);
	bpf_probe_read_kernel(event->remote_address, 16, &common->skc_v6_daddr);
	const __u32 *words = (const __u32 *)event->remote_address;
	event->ip_version = words[0] == 0 && words[1] == 0 && words[2] == bpf_htonl(0xffff) ? 4 : 6;
}

static __always_inline void fill_health(struct socket_event *event, const struct tcp_sock *tcp,
					const struct tcp_health *health)
{
	event->retransmits_fast = health->retransmits_fast;
	event->retransmits_timeout = health->retransmits_timeout;
	event->retransmits_syn = health->retransmits_syn;
	event->retransmits_probe = health->retransmits_probe;
	event->out_of_order = tcp->rcv_ooopack;
	event->zero_windows = health->zero_windows;
	event->handshake_us = health->handshake_us;
	/* Before the first sample it is a timeout of one second. */
	event->rtt_variation_us = tcp->srtt_us != 0 ? tcp->mdev_us >> 2 : 0;
}

static __always_inline void fill_event(struct socket_event *event, __u16 type, const struct tcp_sock *tcp,
				       const struct socket_state *state, const struct tcp_totals *totals)
{
	__u32 min_rtt_us = tcp->rtt_min.s[0].v;

	__builtin_memset(event, 0, sizeof(*event));
	event->type = type;
	event->size = sizeof(*event);
	event->cpu = bpf_get_smp_processor_id();
	event->time_ns = bpf_ktime_get_ns();
	event->cookie = read_cookie(tcp, state);
	event->join_key = state->join_key;
	event->start_time_ns = state->start_time_ns;
	event->owner_start_time_ns = state->owner.start_time_ns;
	event->cgroup_id = state->owner.cgroup_id;
	event->owner_pid = state->owner.pid;
	event->owner_uid = state->owner.uid;
	__builtin_memcpy(event->owner_comm, state->owner.comm, sizeof(event->owner_comm));
	event->bytes_sent = totals->bytes_sent;
	event->bytes_received = totals->bytes_received;
	event->segments_sent = totals->segments_sent;
	event->segments_received = totals->segments_received;
	event->retransmits = totals->retransmits;
	event->srtt_us = tcp->srtt_us >> 3;
	event->min_rtt_us = min_rtt_us == ~0U ? 0 : min_rtt_us;
	event->role = state->role;
	event->role_source = state->role_source;
	event->flags = state->flags;
	event->phase = state->phase;
	fill_health(event, tcp, &state->health);
	/* Not in every configuration of the kernel. */
	if (bpf_core_field_exists(tcp->is_mptcp) && tcp->is_mptcp) event->flags |= SOCKET_FLAG_MPTCP_SUBFLOW;
	fill_tuple(event, tcp);
}

/* A wakeup is an interrupt, dearer than the event: the reader is woken when another `wakeup_bytes` have come together,
 * and a quiet ring is found by its timer. Several records wide, because events of other processors may step over the
 * mark. */
static __always_inline __u64 wakeup_flags(void)
{
	__u64 pending = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	int is_due = pending >= wakeup_bytes && pending % wakeup_bytes < 4 * sizeof(struct socket_event);
	return is_due ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* The listening process, which an accepted socket has until it is used, is not looked at. */
static __always_inline int is_owner_news(const struct socket_state *state)
{
	if (process_known_ns == 0 || state->is_owner_known) return 0;
	return state->owner.pid != 0 && !(state->flags & SOCKET_FLAG_OWNER_PROVISIONAL);
}

static __always_inline void submit(struct socket_event *event, struct socket_state *state)
{
	int is_news = is_owner_news(state);
	bpf_ringbuf_submit(event, is_news ? BPF_RB_FORCE_WAKEUP : wakeup_flags());
	if (!is_news) return;
	note_told(&state->owner);
	state->is_owner_known = 1;
}

/* With the totals of this moment, which are exact under the socket's lock, as in the state hook. */
static __always_inline void fill_event_now(struct socket_event *event, __u16 type, const struct tcp_sock *tcp,
					   struct socket_state *state, __u8 close_reason, int error)
{
	struct tcp_totals totals;
	read_totals(&totals, tcp, state, READER_HOLDS_LOCK);
	keep_told(&totals, &state->told);
	fill_event(event, type, tcp, state, &totals);
	event->close_reason = close_reason;
	event->error = error;
	state->told = totals;
}

/* Returns 0 when the ring was full. */
static __always_inline int try_send_event(__u16 type, const struct tcp_sock *tcp, struct socket_state *state,
					  __u8 close_reason, int error)
{
	struct socket_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) return 0;
	fill_event_now(event, type, tcp, state, close_reason, error);
	submit(event, state);
	return 1;
}

/* While a process uses the socket, without its lock: with the totals that were told last. */
static __always_inline int try_send_in_use(__u16 type, const struct tcp_sock *tcp, struct socket_state *state)
{
	struct socket_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) return 0;
	fill_event(event, type, tcp, state, &state->told);
	submit(event, state);
	return 1;
}

/* The upper half of the ring is for sockets: what is only detail may not crowd them out. */
static __always_inline int is_ring_crowded(void)
{
	return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2;
}

static __always_inline void count_loss(__u16 type)
{
	__sync_fetch_and_add(&events_lost[type % EVENT_TYPES_MAX], 1);
}

/* The socket ends: if the ring is full the event waits elsewhere. */
static __always_inline void send_end(__u16 type, const struct tcp_sock *tcp, struct socket_state *state,
				     __u8 close_reason, int error)
{
	if (try_send_event(type, tcp, state, close_reason, error)) return;
	struct socket_event event;
	fill_event_now(&event, type, tcp, state, close_reason, error);
	if (!defer_end(&event)) count_loss(type);
}
