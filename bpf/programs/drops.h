#pragma once

/* Packets that the kernel dropped, counted where it says so: by its reason, by the code that gave up the packet, and by
 * the socket when the packet has one. The counts are kept here and are exact; the agent reads what was added in each
 * window with an iterator. No drops: a packet that was used up, a release without a reason, which older drivers and
 * every clean-up make, and what is still queued in a socket that closes: there each FIN is, and data that nobody read
 * is told by the reset that follows. Packets of other protocols than IP are left out. */

#include "core_types.h"
#include "config.h"
#include "datagrams.h"
#include "gen/kernel_events.h"
#include "socket_state.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

/* (socket, place) pairs at once. */
#define DROP_PLACES_MAX 16384
/* Of these the last are kept for places without a socket: they number as many as the kernel's code has, so they fit. */
#define DROP_PLACES_WITH_SOCKET_MAX (DROP_PLACES_MAX - 2048)
/* A place where nothing was dropped for so many passes is forgotten; it begins anew when it drops again. */
#define DROP_QUIET_PASSES_MAX 6

struct drop_place {
	__u64 cookie;
	__u64 location;
	__u32 reason;
	__u32 pad0;
};

struct drop_count_state {
	__u64 count;
	/* Touched by the iterator alone. */
	__u64 told;
	__u64 quiet_passes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DROP_PLACES_MAX);
	__type(key, struct drop_place);
	__type(value, struct drop_count_state);
} drop_places SEC(".maps");

__u64 drop_places_used;
/* Of sockets that found no room: they are counted without their socket. */
__u64 drops_without_socket;
/* That found no room at all. */
__u64 drops_lost;

/* The numbers differ between kernels, and older ones lack some reasons. */
#define IS_REASON(reason, name)                                                                                        \
	(bpf_core_enum_value_exists(enum skb_drop_reason, name) &&                                                     \
	 (reason) == bpf_core_enum_value(enum skb_drop_reason, name))

static __always_inline int is_drop_reason(__u32 reason)
{
	return reason != 0 && !IS_REASON(reason, SKB_CONSUMED) && !IS_REASON(reason, SKB_DROP_REASON_NOT_SPECIFIED) &&
	       !IS_REASON(reason, SKB_DROP_REASON_QUEUE_PURGE);
}

static __always_inline int is_in_scope(const struct sk_buff *skb, const struct sock *sk)
{
	if (sk) return in_scope(sk);
	if (scope_cgroup != 0) return 0;
	if (scope_netns == 0) return 1;
	return skb->dev->nd_net.net->ns.inum == scope_netns;
}

/* Returns 0 when there was no room. */
static __always_inline int count_place(const struct drop_place *place)
{
	struct drop_count_state *state = bpf_map_lookup_elem(&drop_places, place);
	if (!state) {
		if (place->cookie != 0 && drop_places_used >= DROP_PLACES_WITH_SOCKET_MAX) return 0;
		struct drop_count_state first = {};
		if (bpf_map_update_elem(&drop_places, place, &first, BPF_NOEXIST) == 0)
			__sync_fetch_and_add(&drop_places_used, 1);
		/* Another processor may have been faster. */
		state = bpf_map_lookup_elem(&drop_places, place);
		if (!state) return 0;
	}
	__sync_fetch_and_add(&state->count, 1);
	return 1;
}

#define IPV4_PROTOCOL 9
#define IPV6_NEXT_HEADER 6

/* Fills all but the cookie from the packet's own headers. Returns 0 for what is no datagram, or has extension headers.
 */
static __always_inline int read_dropped_datagram(struct datagram_key *key, const struct sk_buff *skb, int is_sent)
{
	const unsigned char *header = skb->head + skb->network_header;
	__u8 ip[40];
	__be16 ports[2];
	if (bpf_probe_read_kernel(ip, sizeof(ip), header) != 0) return 0;
	int is_ipv4 = ip[0] >> 4 == 4;
	if (ip[is_ipv4 ? IPV4_PROTOCOL : IPV6_NEXT_HEADER] != IPPROTO_UDP) return 0;
	if (bpf_probe_read_kernel(ports, sizeof(ports), header + (is_ipv4 ? (ip[0] & 15) * 4 : 40)) != 0) return 0;
	__u8 *source = is_sent ? key->local_address : key->remote_address;
	__u8 *destination = is_sent ? key->remote_address : key->local_address;
	if (is_ipv4) {
		map_ipv4(source, *(const __be32 *)(ip + 12));
		map_ipv4(destination, *(const __be32 *)(ip + 16));
	} else {
		__builtin_memcpy(source, ip + 8, 16);
		__builtin_memcpy(destination, ip + 24, 16);
	}
	key->local_port = ports[is_sent ? 0 : 1];
	key->remote_port = ports[is_sent ? 1 : 0];
	return 1;
}

/* What the socket is called in the events: sockets that are followed were given their cookie, and a TIME_WAIT keeps
 * that of its connection, while datagrams have a flow for each peer. */
static __always_inline __u64 read_dropped_cookie(const struct sk_buff *skb, const struct sock *sk, int is_sent)
{
	struct datagram_key key = {.cookie = sk->__sk_common.skc_cookie.counter};
	if (key.cookie == 0 || !read_dropped_datagram(&key, skb, is_sent)) return key.cookie;
	int state = 0;
	const struct datagram_flow *flow = find_flow(&key, &state);
	return flow ? flow->id : key.cookie;
}

static __always_inline int count_drop(struct sk_buff *skb, void *location, __u32 reason, struct sock *receiver)
{
	if (!is_drop_reason(reason)) return 0;
	if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6)) return 0;
	struct sock *sk = receiver ? receiver : skb->sk;
	if (!is_in_scope(skb, sk)) return 0;
	struct drop_place place = {.location = (__u64)location, .reason = reason};
	if (sk) place.cookie = read_dropped_cookie(skb, sk, !receiver);
	if (count_place(&place)) return 0;
	if (place.cookie != 0) {
		__sync_fetch_and_add(&drops_without_socket, 1);
		place.cookie = 0;
		if (count_place(&place)) return 0;
	}
	__sync_fetch_and_add(&drops_lost, 1);
	return 0;
}

/* Since Linux 6.11 the kernel also says for which socket the packet was; before, only packets on their way out have
 * one. */
SEC("?tp_btf/kfree_skb")
int BPF_PROG(drop_receiver_btf, struct sk_buff *skb, void *location, __u32 reason, struct sock *receiver)
{
	return count_drop(skb, location, reason, receiver);
}

SEC("?tp_btf/kfree_skb")
int BPF_PROG(drop_btf, struct sk_buff *skb, void *location, __u32 reason)
{
	return count_drop(skb, location, reason, 0);
}

/* A packet that is counted between the look and the removal of a place that was quiet for six passes would be lost; the
 * two are a few instructions apart. */
SEC("?iter/bpf_map_elem")
int drops_map(struct bpf_iter__bpf_map_elem *ctx)
{
	struct drop_place *place = ctx->key;
	struct drop_count_state *state = ctx->value;
	if (!place || !state) return 0;
	__u64 count = state->count;
	if (count == state->told) {
		struct drop_place quiet = *place;
		if (++state->quiet_passes >= DROP_QUIET_PASSES_MAX && bpf_map_delete_elem(&drop_places, &quiet) == 0)
			__sync_fetch_and_add(&drop_places_used, -1);
		return 0;
	}
	struct drop_count event = {
		.type = KERNEL_EVENT_TYPE_DROP_COUNT,
		.size = sizeof(event),
		.cpu = bpf_get_smp_processor_id(),
		.time_ns = bpf_ktime_get_ns(),
		.cookie = place->cookie,
		.location = place->location,
		.count = count - state->told,
		.reason = place->reason,
	};
	if (bpf_seq_write(ctx->meta->seq, &event, sizeof(event)) != 0) return 0;
	state->told = count;
	state->quiet_passes = 0;
	return 0;
}
