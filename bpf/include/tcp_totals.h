#pragma once

/* TCP counts in sequence space, where SYN and FIN take one number each; applications count payload. Taken out here:
 *   bytes_acked     1 for this end's SYN when it opened actively (an accepted socket starts behind its SYN),
 *                   1 for this end's FIN once the peer acknowledged it;
 *   bytes_received  1 for the peer's FIN if this socket took it; after TIME_WAIT began, the kernel's mini-socket does.
 * So both ends report the application's bytes whoever closes first, and after a reset as well. */

#include "socket_state.h"
#include <bpf/bpf_core_read.h>

/* In these states the FIN is queued, and it is the last number before write_seq. */
static __always_inline int is_fin_queued(__u8 tcp_state)
{
	return tcp_state == TCP_FIN_WAIT1 || tcp_state == TCP_FIN_WAIT2 || tcp_state == TCP_CLOSING ||
	       tcp_state == TCP_LAST_ACK;
}

/* Connected, or on its way to the end: has both sequence numbers. */
static __always_inline int is_connected(__u8 tcp_state)
{
	return tcp_state == TCP_ESTABLISHED || is_fin_queued(tcp_state) || tcp_state == TCP_CLOSE_WAIT;
}

/* tcp_fin() sets SOCK_DONE and nothing else does; RCV_SHUTDOWN would not do, because close() sets it too. */
static __always_inline int took_fin(const struct tcp_sock *tcp)
{
	const struct sock *sk = &tcp->inet_conn.icsk_inet.sk;
	return (sk->__sk_common.skc_flags >> bpf_core_enum_value(enum sock_flags, SOCK_DONE)) & 1;
}

/* Of a socket that has closed, the state that it left, as far as that was seen. */
static __always_inline __u8 last_open_state(const struct sock *sk, const struct socket_state *state)
{
	__u8 tcp_state = sk->__sk_common.skc_state;
	return tcp_state == TCP_CLOSE ? state->tcp_state : tcp_state;
}

/* Without its own SYN a passive end has sent nothing, but it has at least been sent a FIN. */
static __always_inline int has_connected(const struct tcp_sock *tcp, const struct socket_state *state)
{
	return opened_actively(state) ? tcp->bytes_acked != 0 : tcp->bytes_received != 0;
}

/* The kernel changes a socket under its lock: a softirq holds the spinlock, a process is written down as the owner. */
static __always_inline int is_held(const struct sock *sk)
{
	if (sk->sk_lock.owned) return 1;
	/* Not in kernels for one processor, nor in those for real time. */
	if (!bpf_core_field_exists(sk->sk_lock.slock.rlock.raw_lock.val)) return 0;
	return sk->sk_lock.slock.rlock.raw_lock.val.counter != 0;
}

/* Who has the socket's lock, while its totals are read. */
enum totals_reader {
	READER_HOLDS_LOCK,
	READER_HOLDS_NONE,
};

/* Of iter/tcp. */
static __always_inline enum totals_reader reader_in_walk(void)
{
	return bpf_core_type_exists(struct bpf_tcp_iter_state) ? READER_HOLDS_LOCK : READER_HOLDS_NONE;
}

/* The role must be known, because it decides about the SYN. Returns whether the socket may have been amid a change:
 * the number of a FIN is counted before its flag is set, so then the last number counts as one, and what it really was
 * shows in the next totals. Such a change has the lock while the counters are read, and all of it shows once it has
 * not: so the counters come first, then the lock, then the flags.
 *
 * What that takes of the processor: the reader's loads stay in this order (look_again), and who changed the socket has
 * stored the lock before the counter and the flag before the release of the lock. x86 stores in the order of the
 * program. On arm64 the release orders the flag, but taking a lock orders what follows after its load, not after its
 * store (Documentation/memory-barriers.txt, "lock acquisition functions"): the counter may show before the lock does,
 * for as long as a store waits. No reader can tell, and a FIN that is read then counts as a byte. */
static __always_inline int read_totals(struct tcp_totals *totals, const struct tcp_sock *tcp,
				       const struct socket_state *state, enum totals_reader reader)
{
	const struct sock *sk = &tcp->inet_conn.icsk_inet.sk;
	__u64 acked = tcp->bytes_acked;
	__u64 received = tcp->bytes_received;
	int is_changing = 0;
	if (reader == READER_HOLDS_NONE) {
		look_again(tcp);
		is_changing = is_held(sk);
		look_again(tcp);
	}
	__u64 own_flags = opened_actively(state);
	if (is_fin_queued(last_open_state(sk, state)) && (is_changing || tcp->snd_una == tcp->write_seq)) own_flags++;
	__u64 peer_flags = is_changing || took_fin(tcp);
	totals->bytes_sent = acked > own_flags ? acked - own_flags : 0;
	totals->bytes_received = received > peer_flags ? received - peer_flags : 0;
	totals->segments_sent = tcp->segs_out;
	totals->segments_received = tcp->segs_in;
	totals->retransmits = tcp->total_retrans;
	totals->pad0 = 0;
	return is_changing;
}

/* What was told stands. */
static __always_inline void keep_told(struct tcp_totals *totals, const struct tcp_totals *told)
{
	if (totals->bytes_sent < told->bytes_sent) totals->bytes_sent = told->bytes_sent;
	if (totals->bytes_received < told->bytes_received) totals->bytes_received = told->bytes_received;
}

static __always_inline int have_moved(const struct tcp_totals *totals, const struct tcp_totals *told)
{
	return totals->bytes_sent != told->bytes_sent || totals->bytes_received != told->bytes_received ||
	       totals->segments_sent != told->segments_sent || totals->segments_received != told->segments_received ||
	       totals->retransmits != told->retransmits;
}
