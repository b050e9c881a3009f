#pragma once

/* Why a connection or a connect ended, asked at the moment when the socket enters CLOSE: `old_state` is the state that
 * it leaves, sk_err is set already, and a reset of this end's own is in most cases sent right after. */

#include "tcp_totals.h"

static __always_inline int is_orphan(const struct sock *sk)
{
	return (sk->__sk_common.skc_flags >> bpf_core_enum_value(enum sock_flags, SOCK_DEAD)) & 1;
}

/* Data that arrives after close() cannot be delivered: the kernel answers it with a reset. It runs the same code as for
 * a reset of the peer, so what tells them apart is that a segment with data came after close(). */
static __always_inline int got_data_after_close(const struct tcp_sock *tcp, const struct socket_state *state)
{
	return (state->state & STATE_CLOSED_BOTH_WAYS) && tcp->data_segs_in != state->data_segments_at_close;
}

static __always_inline __u8 read_close_reason(const struct tcp_sock *tcp, const struct socket_state *state,
					      int old_state)
{
	const struct sock *sk = &tcp->inet_conn.icsk_inet.sk;
	int error = sk->sk_err;
	int waits_for_peer = old_state == TCP_FIN_WAIT1 || old_state == TCP_FIN_WAIT2;

	if (waits_for_peer && got_data_after_close(tcp, state) && !took_fin(tcp)) return CLOSE_REASON_RESET_SENT;
	if (state->state & STATE_RESET_RECEIVED) return CLOSE_REASON_RESET_RECEIVED;
	/* Without the hook on received resets the error is what remains of one. */
	if (error == ECONNRESET || error == EPIPE) return CLOSE_REASON_RESET_RECEIVED;
	if (error == ECONNABORTED || (error == 0 && (state->state & STATE_RESET_SENT))) return CLOSE_REASON_RESET_SENT;
	/* A timeout shows ETIMEDOUT, or the last ICMP error that came meanwhile. */
	if (error != 0) return CLOSE_REASON_TIMED_OUT;
	switch (old_state) {
	case TCP_FIN_WAIT2:
		/* TIME_WAIT takes over; but SO_LINGER 0 or unread data at close() after shutdown() send a reset. */
		return took_fin(tcp) || is_orphan(sk) ? CLOSE_REASON_CLOSED : CLOSE_REASON_RESET_SENT;
	case TCP_LAST_ACK:
	case TCP_CLOSING:
		return tcp->snd_una == tcp->write_seq ? CLOSE_REASON_CLOSED : CLOSE_REASON_RESET_SENT;
	default:
		/* Close without FIN: unread data, SO_LINGER 0, connect(AF_UNSPEC), or the kernel lacked memory. */
		return CLOSE_REASON_RESET_SENT;
	}
}

/* The error of a connect, positive. When an ICMP error meets a socket that a system call holds, the kernel goes on
 * trying and only notes it: in sk_err_soft until SO_ERROR takes it away, and in the error queue. An application that
 * asked gives up then. */
static __always_inline int read_connect_error(const struct tcp_sock *tcp)
{
	const struct sock *sk = &tcp->inet_conn.icsk_inet.sk;
	if (sk->sk_err != 0) return sk->sk_err;
	if (sk->sk_err_soft != 0 || sk->sk_error_queue.qlen == 0) return sk->sk_err_soft;
	const struct sock_exterr_skb *queued = (const void *)sk->sk_error_queue.next->cb;
	__u32 error = 0;
	bpf_probe_read_kernel(&error, sizeof(error), &queued->ee.ee_errno);
	return error;
}

static __always_inline __u8 read_connect_failure(const struct tcp_sock *tcp, const struct socket_state *state,
						 int error)
{
	const struct sock *sk = &tcp->inet_conn.icsk_inet.sk;

	if (state->state & STATE_RESET_RECEIVED) return CLOSE_REASON_CONNECT_REFUSED;
	switch (error) {
	case ECONNREFUSED:
		return CLOSE_REASON_CONNECT_REFUSED;
	case ETIMEDOUT:
		return CLOSE_REASON_CONNECT_TIMED_OUT;
	case EACCES: /* ICMPv6: administratively prohibited */
	case ENONET:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
		return CLOSE_REASON_CONNECT_UNREACHABLE;
	case 0:
		break;
	default:
		return CLOSE_REASON_CONNECT_OTHER;
	}
	/* No error: the application gave up (close, shutdown, exit), or connect() itself failed before it sent
	 * anything, for want of a free port for example; only then the socket is neither shut down nor connecting. */
	if (sk->sk_shutdown == SHUTDOWN_MASK || is_orphan(sk) || READ(sk, sk_socket, state) == SS_CONNECTING)
		return CLOSE_REASON_CONNECT_ABANDONED;
	return CLOSE_REASON_CONNECT_OTHER;
}

/* Seen late, sk_err may be gone: whoever read it took it away. */
static __always_inline __u8 correct_close_reason(const struct tcp_sock *tcp, int old_state, __u8 reason)
{
	if (reason != CLOSE_REASON_RESET_SENT || tcp->inet_conn.icsk_inet.sk.sk_err != 0) return reason;
	/* Unanswered to the end. */
	if (tcp->inet_conn.icsk_retransmits != 0) return CLOSE_REASON_TIMED_OUT;
	return took_fin(tcp) && tcp->snd_una == tcp->write_seq ? CLOSE_REASON_CLOSED : reason;
}

/* Nor can it be told late of a connect: but one that repeated its SYN and was not given up by its process, which would
 * have been seen, had no answer. */
static __always_inline int infer_connect_error(const struct tcp_health *health)
{
	return health->retransmits_syn != 0 ? ETIMEDOUT : ECONNABORTED;
}
