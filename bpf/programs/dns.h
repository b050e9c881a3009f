#pragma once

/* DNS messages of the sockets of this host, as they are sent and received on port 53: the packet hooks of the control
 * group's root copy them to the ring, the agent parses them. A packet of any other port costs a look at its ports. UDP
 * is seen whole, before it is fragmented and after it was put together. In TCP a message is copied when it begins where
 * a segment or another message does, as far as it is in the segment; other segments are counted. */

#include "core_types.h"
#include "config.h"
#include "datagrams.h"
#include "event_size.h"
#include "events.h"

#define DNS_HEADER_BYTES 12
#define DNS_OPCODE_MASK 0x7800
/* Resolvers send the queries for both kinds of addresses together. */
#define DNS_SEGMENT_MESSAGES_MAX 4
/* Of a longer message the beginning is copied. A record has the least of these sizes that holds it: a query, an answer
 * without EDNS, an answer with it. */
#define DNS_BYTES_SMALL 128
#define DNS_BYTES_MEDIUM 512
#define DNS_BYTES_MAX 4096

_Static_assert(sizeof(struct dns_message) + DNS_BYTES_MAX <= EVENT_BYTES_MAX, "bpf/include/event_size.h");

/* Segments of port 53 with data that begins no message, and datagrams of segmentation offload or without a header. */
__u64 dns_unparsed;

struct dns_packet {
	__u32 transport_offset;
	__be16 source_port;
	__be16 destination_port;
	__u8 ip_version;
	__u8 protocol;
	__u8 pad0[2];
};

/* Returns 0 for packets of other ports and protocols, and for IPv6 with extension headers, which DNS does without. The
 * headers of nearly every packet lie together and are read in place; else they are copied. */
static __always_inline int find_ports(struct __sk_buff *skb, struct dns_packet *packet)
{
	const __u8 *data = (const __u8 *)(long)skb->data;
	const __u8 *end = (const __u8 *)(long)skb->data_end;
	__be16 ports[2];
	if (data + 20 > end) return 0;
	packet->ip_version = data[0] >> 4 == 4 ? 4 : 6;
	packet->protocol = data[packet->ip_version == 4 ? 9 : 6];
	if (packet->protocol != IPPROTO_UDP && packet->protocol != IPPROTO_TCP) return 0;
	__u64 offset = packet->ip_version == 4 ? (data[0] & 15) * 4 : 40;
	packet->transport_offset = offset;
	if (data + offset + sizeof(ports) <= end)
		__builtin_memcpy(ports, data + offset, sizeof(ports));
	else if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)) != 0)
		return 0;
	packet->source_port = ports[0];
	packet->destination_port = ports[1];
	return ports[0] == bpf_htons(DNS_PORT) || ports[1] == bpf_htons(DNS_PORT);
}

/* Where the data of a segment begins. */
static __always_inline __u32 find_segment_data(struct __sk_buff *skb, const struct dns_packet *packet)
{
	__u8 data_offset = 0;
	bpf_skb_load_bytes(skb, packet->transport_offset + 12, &data_offset, 1);
	return packet->transport_offset + (data_offset >> 4) * 4;
}

/* How a message begins in TCP: its length, then its header (RFC 1035, sections 4.1.1 and 4.2.2). */
struct dns_tcp_head {
	__be16 message_bytes;
	__be16 id;
	__be16 flags;
	__be16 questions;
	__u8 counts[6];
};

/* The length of the message that begins at `offset`; 0 when none does, or one that the agent would pass over: the
 * middle of a message looks like a query or an answer in one of a million segments. */
static __always_inline __u32 read_message_length(struct __sk_buff *skb, __u32 offset)
{
	struct dns_tcp_head head;
	if (bpf_skb_load_bytes(skb, offset, &head, sizeof(head)) != 0) return 0;
	if ((head.flags & bpf_htons(DNS_OPCODE_MASK)) || head.questions != bpf_htons(1)) return 0;
	__u32 bytes = bpf_ntohs(head.message_bytes);
	return bytes >= DNS_HEADER_BYTES ? bytes : 0;
}

static __always_inline void load_address(struct __sk_buff *skb, const struct dns_packet *packet, int is_source,
					 __u8 *address)
{
	if (packet->ip_version == 4) {
		__be32 ipv4 = 0;
		bpf_skb_load_bytes(skb, is_source ? 12 : 16, &ipv4, sizeof(ipv4));
		map_ipv4(address, ipv4);
	} else {
		bpf_skb_load_bytes(skb, is_source ? 8 : 24, address, 16);
	}
}

/* What the socket is called in the events of sockets: flows of datagrams have ids of their own. */
static __always_inline __u64 find_event_cookie(struct __sk_buff *skb, const struct dns_message *head, __be16 local_port,
					       __be16 remote_port)
{
	struct datagram_key key = {};
	key.cookie = bpf_get_socket_cookie(skb);
	if (head->protocol != IPPROTO_UDP) return key.cookie;
	__builtin_memcpy(key.local_address, head->local_address, 16);
	__builtin_memcpy(key.remote_address, head->remote_address, 16);
	key.local_port = local_port;
	key.remote_port = remote_port;
	int state = 0;
	const struct datagram_flow *flow = find_flow(&key, &state);
	return flow ? flow->id : key.cookie;
}

static __always_inline void fill_head(struct __sk_buff *skb, struct dns_message *head, const struct dns_packet *packet,
				      int is_sent)
{
	__be16 local_port = is_sent ? packet->source_port : packet->destination_port;
	__be16 remote_port = is_sent ? packet->destination_port : packet->source_port;
	head->type = KERNEL_EVENT_TYPE_DNS_MESSAGE;
	head->cpu = bpf_get_smp_processor_id();
	head->time_ns = bpf_ktime_get_ns();
	head->local_port = bpf_ntohs(local_port);
	head->remote_port = bpf_ntohs(remote_port);
	head->protocol = packet->protocol;
	head->ip_version = packet->ip_version;
	head->is_sent = is_sent;
	load_address(skb, packet, is_sent, head->local_address);
	load_address(skb, packet, !is_sent, head->remote_address);
	head->cookie = find_event_cookie(skb, head, local_port, remote_port);
}

/* `room`: a constant, because the kernel reserves records of known size only. */
static __always_inline void copy_message(struct __sk_buff *skb, const struct dns_message *head, __u32 offset,
					 __u32 room)
{
	struct dns_message *event = is_ring_crowded() ? 0 : bpf_ringbuf_reserve(&events, sizeof(*event) + room, 0);
	if (!event) {
		count_loss(KERNEL_EVENT_TYPE_DNS_MESSAGE);
		return;
	}
	*event = *head;
	event->size = sizeof(*event) + room;
	if (event->copied_bytes > room) event->copied_bytes = room;
	/* In 64 bits and with barriers: made into one test of a difference, they would tell the verifiers up to 6.12
	 * nothing about the register that is used. */
	__u64 bytes = event->copied_bytes;
	int is_copied = 0;
	barrier_var(bytes);
	if (bytes >= DNS_HEADER_BYTES) {
		barrier_var(bytes);
		if (bytes <= room) is_copied = bpf_skb_load_bytes(skb, offset, event + 1, bytes) == 0;
	}
	if (is_copied)
		bpf_ringbuf_submit(event, wakeup_flags());
	else
		bpf_ringbuf_discard(event, BPF_RB_NO_WAKEUP);
}

/* A message that goes on in a later segment is copied as far as it is here: its header and its question are. */
static __noinline int tell_message(struct __sk_buff *skb, struct dns_message *head, __u32 offset, __u32 message_bytes)
{
	if (!head || skb->len < offset) return 0;
	__u32 present_bytes = skb->len - offset;
	head->message_bytes = message_bytes;
	head->copied_bytes = message_bytes < present_bytes ? message_bytes : present_bytes;
	if (head->copied_bytes <= DNS_BYTES_SMALL)
		copy_message(skb, head, offset, DNS_BYTES_SMALL);
	else if (head->copied_bytes <= DNS_BYTES_MEDIUM)
		copy_message(skb, head, offset, DNS_BYTES_MEDIUM);
	else
		copy_message(skb, head, offset, DNS_BYTES_MAX);
	return 0;
}

static __always_inline int tell_segment(struct __sk_buff *skb, struct dns_message *head, __u32 offset)
{
	for (int i = 0; i < DNS_SEGMENT_MESSAGES_MAX && offset < skb->len; i++) {
		__u32 bytes = read_message_length(skb, offset);
		if (bytes == 0) return 0;
		tell_message(skb, head, offset + 2, bytes);
		offset += 2 + bytes;
	}
	return offset >= skb->len;
}

static __always_inline int tell_datagram(struct __sk_buff *skb, struct dns_message *head, __u32 offset)
{
	if (skb->gso_size != 0 || skb->len < offset + DNS_HEADER_BYTES) return 0;
	tell_message(skb, head, offset, skb->len - offset);
	return 1;
}

/* Not inlined into the path of every packet. */
static __noinline int follow_dns_packet(struct __sk_buff *skb, const struct dns_packet *packet, int is_sent)
{
	struct dns_message head = {};
	int is_told;
	if (!packet) return 0;
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : 0;
	if (!sk) return 0;
	head.netns = read_netns(sk);
	if (scope_netns != 0 && head.netns != scope_netns) return 0;
	if (scope_cgroup != 0 && bpf_sk_ancestor_cgroup_id(sk, scope_cgroup_level) != scope_cgroup) return 0;
	fill_head(skb, &head, packet, is_sent);
	if (packet->protocol == IPPROTO_TCP)
		is_told = tell_segment(skb, &head, find_segment_data(skb, packet));
	else
		is_told = tell_datagram(skb, &head, packet->transport_offset + sizeof(struct udp_header));
	if (!is_told) __sync_fetch_and_add(&dns_unparsed, 1);
	return 0;
}

static __always_inline void follow_dns(struct __sk_buff *skb, int is_sent)
{
	struct dns_packet packet = {};
	if (find_ports(skb, &packet)) follow_dns_packet(skb, &packet, is_sent);
}

SEC("?cgroup_skb/egress")
int dns_sent(struct __sk_buff *skb)
{
	follow_dns(skb, 1);
	return 1;
}

SEC("?cgroup_skb/ingress")
int dns_arrived(struct __sk_buff *skb)
{
	follow_dns(skb, 0);
	return 1;
}
