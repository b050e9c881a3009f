#pragma once

/* Ends of sockets that found the ring full wait here, since nobody can ask a socket that is gone for its last bytes.
 * What else is lost can be made up for: walks tell openings, owners and totals of those that live. Only when this is
 * full too is an end lost, and counted. */

#include "core_types.h"
#include "gen/kernel_events.h"
#include <bpf/bpf_helpers.h>

/* 16 MiB of kernel memory when full; none when nothing waits. */
#define DEFERRED_ENDS_MAX 65536

/* A socket may fail to connect, and so end, again. */
struct deferred_key {
	__u64 cookie;
	__u64 time_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DEFERRED_ENDS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct deferred_key);
	__type(value, struct socket_event);
} deferred_ends SEC(".maps");

__u64 ends_deferred;

/* Returns 0 when there is no room. */
static __always_inline int defer_end(const struct socket_event *event)
{
	struct deferred_key key = {.cookie = event->cookie, .time_ns = event->time_ns};
	if (bpf_map_update_elem(&deferred_ends, &key, event, BPF_NOEXIST) != 0) return 0;
	__sync_fetch_and_add(&ends_deferred, 1);
	return 1;
}
