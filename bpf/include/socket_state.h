#pragma once

/* What is remembered of one socket, and how it is found: in the socket itself, or by its address. */

#include "core_types.h"
#include "config.h"
#include "gen/kernel_events.h"
#include <bpf/bpf_helpers.h>

#define STATE_RESET_RECEIVED 2
#define STATE_RESET_SENT 4
/* This end opened actively and then saw the peer's SYN instead of a SYN-ACK (RFC 9293, section 3.5). It answered as a
 * server does, and is told as one: most often the peer's first SYN was lost, so the peer sees an ordinary connect of
 * its own. */
#define STATE_SIMULTANEOUS_OPEN 8
/* `data_segments_at_close` holds the count from the moment when the application closed both directions. */
#define STATE_CLOSED_BOTH_WAYS 16

/* Whether the socket's connection was told. A field of its own, because the walks write it without the socket's lock.
 */
enum opening {
	/* There is none, or it was not seen. */
	OPENING_NONE,
	/* It is told with the next totals, or with the close when that comes first. */
	OPENING_WAITS,
	/* SocketOpen or SocketAdopted; the end is to be told as well. */
	OPENING_TOLD,
	/* It found the ring full, and was counted. The next walk of adoption tells it, or the close does. */
	OPENING_LOST,
};

struct socket_owner {
	__u64 start_time_ns;
	__u64 cgroup_id;
	__u32 pid;
	__u32 uid;
	char comm[16];
};

/* Payload totals (SYN and FIN taken out) and the kernel's 32-bit counters. */
struct tcp_totals {
	__u64 bytes_sent;
	__u64 bytes_received;
	__u32 segments_sent;
	__u32 segments_received;
	__u32 retransmits;
	__u32 pad0;
};

/* Of what the kernel does not count itself: running totals since the socket was seen first. */
struct tcp_health {
	/* By RETRANSMIT_KIND_*; together they are `retransmits_known` of the kernel's retransmits, history aside. */
	__u32 retransmits_fast;
	__u32 retransmits_timeout;
	__u32 retransmits_syn;
	__u32 retransmits_probe;
	__u32 retransmits_known;
	__u32 zero_windows;
	/* Where the sequence stood when the last of these was announced. */
	__u32 zero_window_at;
	__u32 handshake_us;
};

struct socket_state {
#ifdef SOCKET_VIEWS
	__u64 cookie;
#endif
	__u64 join_key;
	__u64 start_time_ns;
	struct socket_owner owner;
	/* As last told: what moves is told again, what was told never falls. */
	struct tcp_totals told;
	struct tcp_health health;
	__u32 data_segments_at_close;
	__u8 role;
	__u8 role_source;
	__u8 state;
	/* SOCKET_FLAG_* of the events. */
	__u8 flags;
	__u8 owner_changes;
	/* The TCP state that was followed last; 0 of a socket that is older than the agent. */
	__u8 tcp_state;
	/* CONNECTION_PHASE_* in which a reset ended it. */
	__u8 phase;
	/* OPENING_* */
	__u8 opening;
	/* The reader knew the owner when it became that, or knows it since. */
	__u8 is_owner_known;
	__u8 pad0[3];
};

/* Loads before it are done before those after it. x86 loads in the order of the program. eBPF has no instruction for it
 * that all kernels with BTF take; the kernel's clock is read under a sequence counter, which orders all loads in the
 * same way: smp_rmb() in ktime_get_mono_fast_ns(). */
static __always_inline void order_loads(void)
{
#ifdef __TARGET_ARCH_arm64
	bpf_ktime_get_ns();
#endif
	barrier();
}

#ifdef SOCKET_VIEWS
#include "socket_views.h"
#else
#include "socket_storage.h"
#endif

static __always_inline int opened_actively(const struct socket_state *state)
{
	return state->role == ROLE_CLIENT || (state->state & STATE_SIMULTANEOUS_OPEN);
}

static __always_inline int is_known(const struct socket_state *state)
{
	return state->opening == OPENING_TOLD || state->opening == OPENING_WAITS;
}

/* A connection whose beginning was seen opened; of an older one the totals are history. */
static __always_inline __u16 announcement_type(const struct socket_state *state)
{
	return state->start_time_ns != 0 ? KERNEL_EVENT_TYPE_SOCKET_OPEN : KERNEL_EVENT_TYPE_SOCKET_ADOPTED;
}

/* By the group in which the socket was made; an accepted one has that of its listener. Exactly one of the groups at a
 * level is an ancestor. */
static __always_inline int is_in_cgroup(const struct cgroup *own)
{
	if (!own || (__u32)BPF_CORE_READ(own, level) < scope_cgroup_level) return 0;
	__u64 id = 0;
	if (bpf_core_field_exists(struct cgroup, ancestors)) {
		const struct cgroup *ancestor = 0;
		const void *places = (const void *)own + bpf_core_field_offset(struct cgroup, ancestors);
		bpf_probe_read_kernel(&ancestor, sizeof(ancestor), places + scope_cgroup_level * sizeof(ancestor));
		id = BPF_CORE_READ(ancestor, kn, id);
	} else {
		const void *ids = (const void *)own + bpf_core_field_offset(struct cgroup___of_ids, ancestor_ids);
		bpf_probe_read_kernel(&id, sizeof(id), ids + scope_cgroup_level * sizeof(id));
	}
	return id == scope_cgroup;
}

/* The agent is blind to everything else: this is asked before anything else is read or stored. */
static __always_inline int in_scope(const struct sock *sk)
{
	if (scope_netns != 0 && READ(sk, __sk_common.skc_net.net, ns.inum) != scope_netns) return 0;
	return scope_cgroup == 0 || is_in_cgroup(READ(sk, sk_cgrp_data.cgroup));
}
