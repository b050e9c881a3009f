#pragma once

/* Who opened a connection that is older than the agent? */

#include "socket_state.h"
#include <bpf/bpf_core_read.h>

/* An accepted socket remembers the device of the client's last handshake segment where other sockets keep their
 * multicast device (tcp_v4_syn_recv_sock: mc_index, tcp_v6_syn_recv_sock: mcast_oif). A socket that connected has 0
 * there: multicast means nothing to TCP. sk_max_ack_backlog, inherited from the listener, tells the same but for
 * listen(fd, 0); it serves when a kernel keeps the device elsewhere. */
static __always_inline int was_accepted(const struct tcp_sock *tcp)
{
	const struct inet_sock *inet = &tcp->inet_conn.icsk_inet;
	if (!bpf_core_field_exists(inet->mc_index)) return inet->sk.sk_max_ack_backlog != 0;
	if (inet->mc_index != 0) return 1;
	if (inet->sk.__sk_common.skc_family != AF_INET6) return 0;
	return bpf_core_field_exists(struct ipv6_pinfo, mcast_oif) && READ(inet, pinet6, mcast_oif) != 0;
}

static __always_inline void read_role(struct socket_state *state, const struct tcp_sock *tcp)
{
	state->role = was_accepted(tcp) ? ROLE_SERVER : ROLE_CLIENT;
	state->role_source = ROLE_SOURCE_KERNEL;
}
