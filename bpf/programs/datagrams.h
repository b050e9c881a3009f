#pragma once

/* UDP, per socket and peer, without an event per datagram:
 *   1. the packet hooks of the control group's root see each datagram between its socket and the routing: what the
 *      socket sent, and what arrived for it. They keep running totals in a hash of (socket, addresses, ports), because
 *      an unconnected socket has no peer of its own;
 *   2. the kernel says which datagrams found the socket's receive buffer full: what is delivered is the rest;
 *   3. an iterator tells the totals that moved, and ends the flows whose socket is gone or that were idle. Of an idle
 *      one a walk says first that it is ending: datagrams count elsewhere from then on, those that had found it have
 *      been counted by the next walk, and that one has its last totals. */

#include "core_types.h"
#include "config.h"
#include "datagram_sockets.h"
#include "events.h"
#include "siphash.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#define DATAGRAM_FLOWS_MAX 131072
/* When the table fills, flows are idle sooner: a flow ends after this at the latest. */
#define DATAGRAM_IDLE_NS_MIN 1000000000ULL
/* Bound of the ephemeral ports, as in the reducer. */
#define EPHEMERAL_PORT_MIN 32768

struct datagram_key {
	__u64 cookie;
	/* IPv4 as ::ffff:a.b.c.d; ports in network byte order. */
	__u8 local_address[16];
	__u8 remote_address[16];
	__be16 local_port;
	__be16 remote_port;
	/* 0, or 1 when it begins while its predecessor is ending. */
	__u32 generation;
};

struct datagram_totals {
	__u64 bytes_sent;
	__u64 datagrams_sent;
	/* Of what arrived, and of that what found no room. */
	__u64 bytes_arrived;
	__u64 datagrams_arrived;
	__u64 bytes_dropped;
	__u64 datagrams_dropped;
};

struct datagram_flow {
	/* Stands for the socket's cookie in the events: a socket has many flows, and one peer may have several in a
	 * row. */
	__u64 id;
	__u64 start_time_ns;
	__u64 last_time_ns;
	struct datagram_totals totals;
	/* As last told, the sums of totals' fields. */
	__u64 told;
	__u32 netns;
	__u8 role;
	__u8 role_source;
	__u8 ip_version;
	/* FLOW_*. */
	__u8 state;
};

#define FLOW_ANNOUNCED 1
/* Its socket is older than the look, which has not lasted long enough to say that there was a pause before. */
#define FLOW_MAY_BE_OLDER 2
/* No datagram that finds it counts in it. */
#define FLOW_ENDING 4
/* It is told only after its predecessor's end. */
#define FLOW_SUCCESSOR 8

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DATAGRAM_FLOWS_MAX);
	__type(key, struct datagram_key);
	__type(value, struct datagram_flow);
} datagram_flows SEC(".maps");

__u64 datagram_flows_live;
/* Of the walk that is under way. */
__u64 datagram_idle_limit_ns;
/* What belongs to no flow, because there was no room for another one. */
__u64 datagrams_refused;
__u64 datagram_bytes_refused;

/* What one packet holds. A packet of generic segmentation or receive offload holds several datagrams. */
struct datagram {
	__u32 bytes;
	__u32 count;
	__u32 ip_version;
};

/* The datagram that a processor handles: whether it finds room in the socket is known a few lines further down in
 * the kernel, on the same processor and before the next one. */
struct arrival {
	struct datagram_key key;
	__u64 sk;
	__u32 bytes;
	__u32 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct arrival);
} datagram_arrivals SEC(".maps");

struct udp_header {
	__be16 source;
	__be16 destination;
	__be16 bytes;
	__be16 checksum;
};

/* Offset of the UDP header behind the extension headers (RFC 8200, section 4), or 0. */
static __always_inline __u32 skip_extensions(struct __sk_buff *skb, __u8 next_header)
{
	__u32 offset = 40;
	for (int i = 0; i < 4 && next_header != IPPROTO_UDP; i++) {
		__u8 extension[2];
		int is_known = next_header == 0 || next_header == 43 || next_header == 60;
		if (!is_known || bpf_skb_load_bytes(skb, offset, extension, sizeof(extension)) != 0) return 0;
		next_header = extension[0];
		offset += ((__u32)extension[1] + 1) * 8;
	}
	return next_header == IPPROTO_UDP ? offset : 0;
}

/* Fills the addresses and returns the offset of the UDP header; 0 for every other packet. */
static __always_inline __u32 read_addresses(struct __sk_buff *skb, struct datagram_key *key, struct datagram *datagram,
					    int is_sent)
{
	const __u8 *data = (const __u8 *)(long)skb->data;
	const __u8 *end = (const __u8 *)(long)skb->data_end;
	if (data + 20 > end) return 0;
	if (data[0] >> 4 == 4) {
		if (data[9] != IPPROTO_UDP) return 0;
		datagram->ip_version = 4;
		map_ipv4(is_sent ? key->local_address : key->remote_address, *(const __be32 *)(data + 12));
		map_ipv4(is_sent ? key->remote_address : key->local_address, *(const __be32 *)(data + 16));
		return (data[0] & 15) * 4;
	}
	if (data[0] >> 4 != 6 || data + 40 > end) return 0;
	__u8 next_header = data[6];
	if (next_header == IPPROTO_TCP) return 0;
	datagram->ip_version = 6;
	__builtin_memcpy(is_sent ? key->local_address : key->remote_address, data + 8, 16);
	__builtin_memcpy(is_sent ? key->remote_address : key->local_address, data + 24, 16);
	return next_header == IPPROTO_UDP ? 40 : skip_extensions(skb, next_header);
}

static __always_inline int read_datagram(struct __sk_buff *skb, struct datagram_key *key, struct datagram *datagram,
					 int is_sent)
{
	struct udp_header udp;
	__u32 offset = read_addresses(skb, key, datagram, is_sent);
	if (offset == 0 || bpf_skb_load_bytes(skb, offset, &udp, sizeof(udp)) != 0) return 0;
	__u32 headers = offset + sizeof(udp);
	__u32 segment_bytes = skb->gso_size;
	key->local_port = is_sent ? udp.source : udp.destination;
	key->remote_port = is_sent ? udp.destination : udp.source;
	datagram->bytes = skb->len > headers ? skb->len - headers : 0;
	datagram->count = 1;
	if (segment_bytes != 0 && datagram->bytes > segment_bytes)
		datagram->count = (datagram->bytes + segment_bytes - 1) / segment_bytes;
	return 1;
}

/* A socket that is bound to a service's port and has no peer of its own listens; else who sent first is the client. */
static __always_inline void read_datagram_role(struct datagram_flow *flow, const struct datagram_key *key,
					       const struct bpf_sock *sk, int is_sent)
{
	int is_connected = sk->dst_port != 0;
	if (!is_connected && bpf_ntohs(key->local_port) < EPHEMERAL_PORT_MIN &&
	    bpf_ntohs(key->remote_port) >= EPHEMERAL_PORT_MIN) {
		flow->role = ROLE_SERVER;
		flow->role_source = ROLE_SOURCE_LISTENER;
	} else {
		flow->role = is_sent ? ROLE_CLIENT : ROLE_SERVER;
		flow->role_source = ROLE_SOURCE_FIRST_DATAGRAM;
	}
}

/* Not inlined into the path of every datagram. Returns 0 for packets that no UDP socket sent or receives. */
static __noinline int begin_flow(struct __sk_buff *skb, const struct datagram_key *key, int is_sent, int ip_version,
				 int state)
{
	struct datagram_flow flow = {};
	if (!key) return 0;
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : 0;
	if (!sk || sk->type != SOCK_DGRAM || sk->protocol != IPPROTO_UDP) return 0;
	flow.netns = read_netns(sk);
	if (scope_netns != 0 && flow.netns != scope_netns) return 0;
	if (scope_cgroup != 0 && bpf_sk_ancestor_cgroup_id(sk, scope_cgroup_level) != scope_cgroup) return 0;
	flow.start_time_ns = bpf_ktime_get_ns();
	flow.id = siphash_2_4(key->cookie, flow.start_time_ns, bpf_get_smp_processor_id()) | 1ULL << 63;
	flow.ip_version = ip_version;
	flow.state = state;
	read_datagram_role(&flow, key, sk, is_sent);
	if (flow.start_time_ns < look_start_ns + datagram_idle_ns && !is_datagram_socket_new(key->cookie))
		flow.state |= FLOW_MAY_BE_OLDER;
	int error = bpf_map_update_elem(&datagram_flows, key, &flow, BPF_NOEXIST);
	/* Another processor may have made it meanwhile. */
	if (error == -EEXIST) return 1;
	if (error != 0) return -1;
	__sync_fetch_and_add(&datagram_flows_live, 1);
	hold_datagram_socket(key->cookie, is_sent);
	return 1;
}

/* The flow in which a datagram counts; without one, `key` is what it will be called, and `state` how it begins. */
static __always_inline struct datagram_flow *find_flow(struct datagram_key *key, int *state)
{
	struct datagram_flow *flow = bpf_map_lookup_elem(&datagram_flows, key);
	if (flow && !(flow->state & FLOW_ENDING)) return flow;
	key->generation = 1;
	struct datagram_flow *other = bpf_map_lookup_elem(&datagram_flows, key);
	if (other && !(other->state & FLOW_ENDING)) return other;
	key->generation = 0;
	if (other) *state = FLOW_SUCCESSOR;
	if (!flow) return 0;
	key->generation = 1;
	*state = FLOW_SUCCESSOR;
	return 0;
}

/* A tenth of the price of the exact time; Linux 5.10 has only that. */
static __always_inline __u64 read_coarse_time(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_coarse_ns))
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

/* What is dropped next was counted nowhere. */
static __always_inline void forget_arrival(void)
{
	__u32 zero = 0;
	struct arrival *arrival = bpf_map_lookup_elem(&datagram_arrivals, &zero);
	if (arrival) arrival->sk = 0;
}

static __always_inline void follow_datagram(struct __sk_buff *skb, int is_sent)
{
	struct datagram_key key = {};
	struct datagram datagram = {};
	if (!read_datagram(skb, &key, &datagram, is_sent)) return;
	key.cookie = bpf_get_socket_cookie(skb);
	int state = 0;
	struct datagram_flow *flow = find_flow(&key, &state);
	if (!flow) {
		int begun = begin_flow(skb, &key, is_sent, datagram.ip_version, state);
		if (begun == 0) return;
		flow = bpf_map_lookup_elem(&datagram_flows, &key);
		if (!flow || (flow->state & FLOW_ENDING)) {
			__sync_fetch_and_add(&datagrams_refused, datagram.count);
			__sync_fetch_and_add(&datagram_bytes_refused, datagram.bytes);
			if (!is_sent) forget_arrival();
			return;
		}
	}
	flow->last_time_ns = read_coarse_time();
	if (is_sent) {
		__sync_fetch_and_add(&flow->totals.bytes_sent, datagram.bytes);
		__sync_fetch_and_add(&flow->totals.datagrams_sent, datagram.count);
		return;
	}
	__sync_fetch_and_add(&flow->totals.bytes_arrived, datagram.bytes);
	__sync_fetch_and_add(&flow->totals.datagrams_arrived, datagram.count);
	__u32 zero = 0;
	struct arrival *arrival = bpf_map_lookup_elem(&datagram_arrivals, &zero);
	if (!arrival) return;
	arrival->key = key;
	arrival->sk = (__u64)skb->sk;
	arrival->bytes = datagram.bytes;
	arrival->count = datagram.count;
}

SEC("?cgroup_skb/egress")
int datagram_sent(struct __sk_buff *skb)
{
	follow_datagram(skb, 1);
	return 1;
}

SEC("?cgroup_skb/ingress")
int datagram_arrived(struct __sk_buff *skb)
{
	follow_datagram(skb, 0);
	return 1;
}

/* The datagram that has just arrived on this processor found no room in its socket, or no memory. */
SEC("?tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(datagram_dropped_btf, int error, struct sock *sk)
{
	__u32 zero = 0;
	struct arrival *arrival = bpf_map_lookup_elem(&datagram_arrivals, &zero);
	if (!arrival || arrival->sk != (__u64)sk) return 0;
	struct datagram_key key = arrival->key;
	struct datagram_flow *flow = bpf_map_lookup_elem(&datagram_flows, &key);
	if (!flow) return 0;
	__sync_fetch_and_add(&flow->totals.bytes_dropped, arrival->bytes);
	__sync_fetch_and_add(&flow->totals.datagrams_dropped, arrival->count);
	arrival->sk = 0;
	return 0;
}

static __always_inline void fill_datagram_event(struct socket_event *event, __u16 type, const struct datagram_key *key,
						const struct datagram_flow *flow, const struct datagram_totals *totals)
{
	__builtin_memset(event, 0, sizeof(*event));
	event->type = type;
	event->size = sizeof(*event);
	event->cpu = bpf_get_smp_processor_id();
	event->time_ns = bpf_ktime_get_ns();
	event->cookie = flow->id;
	event->start_time_ns = flow->start_time_ns;
	event->bytes_sent = totals->bytes_sent;
	event->segments_sent = totals->datagrams_sent;
	event->bytes_received = totals->bytes_arrived - totals->bytes_dropped;
	event->segments_received = totals->datagrams_arrived - totals->datagrams_dropped;
	event->zero_windows = totals->datagrams_dropped;
	event->netns = flow->netns;
	event->local_port = bpf_ntohs(key->local_port);
	event->remote_port = bpf_ntohs(key->remote_port);
	event->role = flow->role;
	event->role_source = flow->role_source;
	event->protocol = IPPROTO_UDP;
	event->ip_version = flow->ip_version;
	if (flow->state & FLOW_MAY_BE_OLDER) event->flags |= SOCKET_FLAG_MAY_BE_OLDER;
	__builtin_memcpy(event->local_address, key->local_address, 16);
	__builtin_memcpy(event->remote_address, key->remote_address, 16);
}

/* The fuller the table as a walk begins, the sooner: all of the time while half of it is left, then less in proportion
 * to what is left. */
static __always_inline __u64 read_idle_limit(void)
{
	__u64 live = datagram_flows_live;
	if (live <= DATAGRAM_FLOWS_MAX / 2) return datagram_idle_ns;
	__u64 left = live < DATAGRAM_FLOWS_MAX ? DATAGRAM_FLOWS_MAX - live : 0;
	__u64 limit = datagram_idle_ns / (DATAGRAM_FLOWS_MAX / 2) * left;
	return limit > DATAGRAM_IDLE_NS_MIN ? limit : DATAGRAM_IDLE_NS_MIN;
}

/* Dropped before arrived: what arrives between the two reads counts as delivered until it is known to be dropped. */
static __always_inline void read_datagram_totals(struct datagram_totals *totals, const struct datagram_flow *flow)
{
	totals->bytes_dropped = *(const volatile __u64 *)&flow->totals.bytes_dropped;
	totals->datagrams_dropped = *(const volatile __u64 *)&flow->totals.datagrams_dropped;
	totals->bytes_arrived = *(const volatile __u64 *)&flow->totals.bytes_arrived;
	totals->datagrams_arrived = *(const volatile __u64 *)&flow->totals.datagrams_arrived;
	totals->bytes_sent = *(const volatile __u64 *)&flow->totals.bytes_sent;
	totals->datagrams_sent = *(const volatile __u64 *)&flow->totals.datagrams_sent;
}

/* Empty datagrams move no byte, so datagrams count; sums of what only rises differ when anything rose. */
static __always_inline __u64 sum_totals(const struct datagram_totals *totals)
{
	return totals->datagrams_sent + totals->datagrams_arrived + totals->datagrams_dropped;
}

static __always_inline __u16 next_datagram_event(const struct datagram_flow *flow, int is_over, __u64 sum)
{
	if (is_over) return KERNEL_EVENT_TYPE_SOCKET_CLOSE;
	if (!(flow->state & FLOW_ANNOUNCED)) return KERNEL_EVENT_TYPE_SOCKET_OPEN;
	return sum != flow->told ? KERNEL_EVENT_TYPE_SOCKET_TOTALS : KERNEL_EVENT_TYPE_NONE;
}

/* In one window a flow would begin before its predecessor ends. */
static __always_inline int is_predecessor_there(const struct datagram_key *key)
{
	struct datagram_key predecessor = *key;
	predecessor.generation ^= 1;
	return bpf_map_lookup_elem(&datagram_flows, &predecessor) != 0;
}

/* A record that does not fit is asked for again, so a flow counts as told, and ends, only after it was written. A walk
 * may miss a flow where others come or go; the next one finds it. */
SEC("?iter/bpf_map_elem")
int totals_datagrams(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct datagram_key *current = ctx->key;
	struct datagram_flow *flow = ctx->value;
	if (ctx->meta->seq_num == 0) datagram_idle_limit_ns = read_idle_limit();
	if (!current || !flow) return 0;

	struct datagram_key key = *current;
	struct datagram_totals totals;
	struct socket_event event;
	if (flow->state & FLOW_SUCCESSOR) {
		if (!is_predecessor_there(&key)) flow->state &= ~FLOW_SUCCESSOR;
		return 0;
	}
	__u64 last_time_ns = flow->last_time_ns;
	if (last_time_ns < flow->start_time_ns) last_time_ns = flow->start_time_ns;
	struct datagram_socket *socket = bpf_map_lookup_elem(&datagram_sockets, &key.cookie);
	int is_idle = bpf_ktime_get_ns() - last_time_ns > datagram_idle_limit_ns;
	int is_over = (socket && socket->is_released) || (flow->state & FLOW_ENDING);
	read_datagram_totals(&totals, flow);
	__u64 sum = sum_totals(&totals);
	__u16 type = next_datagram_event(flow, is_over, sum);
	if (type == KERNEL_EVENT_TYPE_NONE) {
		if (is_idle) flow->state |= FLOW_ENDING;
		return 0;
	}

	fill_datagram_event(&event, type, &key, flow, &totals);
	if (socket) fill_datagram_owner(&event, socket);
	if (is_over) {
		event.time_ns = last_time_ns;
		event.close_reason = CLOSE_REASON_CLOSED;
	}
	if (bpf_seq_write(ctx->meta->seq, &event, sizeof(event)) != 0) return 0;
	flow->told = sum;
	flow->state |= FLOW_ANNOUNCED;
	if (!is_over || bpf_map_delete_elem(&datagram_flows, &key) != 0) return 0;
	__sync_fetch_and_add(&datagram_flows_live, -1);
	leave_datagram_socket(key.cookie);
	return 0;
}
