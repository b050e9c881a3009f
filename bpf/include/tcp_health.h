#pragma once

/* How well a connection does, as far as a total at its end would not tell. All of it is running totals in the socket's
 * state, so an event that is lost loses nothing. */

#include "socket_state.h"
#include <bpf/bpf_core_read.h>

/* Which of the kernel's ways to send again led here: asked while it does. A probe is sent before recovery begins, and a
 * segment that follows a timeout's first one, as acknowledgements come in, is that timeout's too. */
static __always_inline __u32 *retransmits_of_this_kind(struct tcp_health *health, const struct tcp_sock *tcp)
{
	const struct inet_connection_sock *icsk = &tcp->inet_conn;
	__u8 tcp_state = icsk->icsk_inet.sk.__sk_common.skc_state;
	__u8 ca_state = BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state);

	if (tcp_state == TCP_SYN_SENT || tcp_state == TCP_SYN_RECV) return &health->retransmits_syn;
	if (ca_state == TCP_CA_Loss) return &health->retransmits_timeout;
	if (ca_state != TCP_CA_Recovery && icsk->icsk_pending == ICSK_TIME_LOSS_PROBE)
		return &health->retransmits_probe;
	return &health->retransmits_fast;
}

/* The kernel counts before it tells, by segments, so what moved since the last time is what is told now; and if that
 * was not told, it is counted with the next. */
static __always_inline void count_retransmits(struct tcp_health *health, const struct tcp_sock *tcp, __u32 *of_kind)
{
	*of_kind += tcp->total_retrans - health->retransmits_known;
	health->retransmits_known = tcp->total_retrans;
}

/* A new socket starts with the SYN-ACKs that were repeated for it, and a client has sent nothing but SYNs. */
static __always_inline void end_handshake(struct tcp_health *health, const struct tcp_sock *tcp)
{
	count_retransmits(health, tcp, &health->retransmits_syn);
}

/* While the window stays shut the sequence stands still, but for a FIN, which is let in. The walk looks without the
 * socket's lock: at worst it counts what a read counts at the same moment. */
static __always_inline void note_zero_window(struct tcp_health *health, const struct tcp_sock *tcp)
{
	if (tcp->rcv_wnd != 0 || (health->zero_windows != 0 && tcp->rcv_wup - health->zero_window_at <= 1)) return;
	health->zero_window_at = tcp->rcv_wup;
	health->zero_windows++;
}

/* A client waits from connect() on, repeated SYNs included. Of a server's wait the kernel has made the first sample of
 * the RTT, unless the SYN-ACK was repeated. */
static __always_inline __u32 read_handshake_us(const struct socket_state *state, const struct tcp_sock *tcp,
					       int old_state)
{
	if (old_state == TCP_SYN_SENT) return (bpf_ktime_get_ns() - state->start_time_ns) / 1000 + 1;
	return old_state == TCP_SYN_RECV && !(state->state & STATE_SIMULTANEOUS_OPEN) ? tcp->srtt_us >> 3 : 0;
}

static __always_inline __u8 phase_of(int old_state)
{
	switch (old_state) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		return CONNECTION_PHASE_ESTABLISH;
	case TCP_ESTABLISHED:
		return CONNECTION_PHASE_TRANSFER;
	default:
		return CONNECTION_PHASE_CLOSE;
	}
}
