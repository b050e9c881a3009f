// A row of the tree and its sums in a window (wasm-modules/assembly/aggregate/{tree,side-sums,row-sums,row-point}.ts).
#pragma once

#include "sessions.hpp"

constexpr u32 LEVEL_COUNT = 7;
constexpr u32 EDGE_COUNT_MAX = 1 << 19;
constexpr u32 OTHER_EDGE_COUNT = 256;
constexpr u32 ROW_COUNT_MAX = LEVEL_COUNT * (EDGE_COUNT_MAX + OTHER_EDGE_COUNT);
constexpr u32 NOT_LATE = ~0u;

// What the ends say by themselves, where it is not what is booked: how much more, modulo 2^64.
struct OwnSums {
	u64 client_bytes_sent;
	u64 client_bytes_received;
	u64 client_packets_sent;
	u64 client_packets_received;
	u64 server_bytes_sent;
	u64 server_bytes_received;
	u64 server_packets_sent;
	u64 server_packets_received;
	u32 flows_client;
	u32 flows_server;
};

// The halves named high belong to what a row has 32 bits for.
struct RareSums {
	u64 forward_retransmits;
	u64 reverse_retransmits;
	u64 residual_bytes;
	u64 judged_bytes;
	u64 late_bytes;
	u32 refused;
	u32 timed_out;
	u32 abandoned;
	u32 unreachable;
	u32 failed_other;
	u32 resets_client;
	u32 resets_server;
	u32 from_window;
	u32 forward_packets_high;
	u32 reverse_packets_high;
	u32 connections_high;
	u32 closed_high;
	u32 rtt_sum_us_high;
	u32 pad0;
};

// Of the second line only `since` and `names_hash` stand; the others are of the window that `moved` tells.
struct Row {
	u32 refs;
	u32 client_node;
	u32 server_node;
	u32 service;
	u8 level;
	u8 listed;
	u8 moved;
	u8 is_other;
	u32 left;
	u32 right;
	u32 histogram;
	u32 generation;
	u32 idle_since;
	u32 tallies;
	u32 processes;
	u32 own;
	u32 rare;
	u32 active;
	i32 active_delta;

	u64 forward_bytes;
	u64 reverse_bytes;
	u32 forward_packets;
	u32 reverse_packets;
	u32 connections;
	u32 closed;
	u32 flows_both;
	u32 rtt_count;
	u32 rtt_min_us;
	u32 rtt_max_us;
	u32 rtt_sum_us;
	u32 collected;
	u32 since;
	u32 names_hash;
};
static_assert(sizeof(Row) == 128, "two cache lines");
static_assert(__builtin_offsetof(Row, forward_bytes) == 64, "the head is one of them");

inline Pool<Row> rows;
inline Pool<OwnSums> own_sums;
inline Pool<RareSums> rare_sums;

inline void init_rows()
{
	rows.create(ROW_COUNT_MAX);
	own_sums.create(ROW_COUNT_MAX);
	rare_sums.create(ROW_COUNT_MAX);
}

inline OwnSums *own_sums_of(Row *row)
{
	if (row->own == 0) {
		row->own = own_sums.take();
		zero(own_sums.at(row->own));
	}
	return own_sums.at(row->own);
}

inline RareSums *rare_sums_of(Row *row)
{
	if (row->rare == 0) {
		row->rare = rare_sums.take();
		zero(rare_sums.at(row->rare));
		rare_sums.at(row->rare)->from_window = NOT_LATE;
	}
	return rare_sums.at(row->rare);
}

// What Row::moved is when it moved in the open window: 1 and 2 in turn.
inline u8 moved_mark = 1;

// What it did in the window before is over.
inline void still_row(Row *row)
{
	if (row->moved == 0) return;
	row->moved = 0;
	row->active_delta = 0;
	if (UNLIKELY(row->own != 0)) own_sums.give(row->own);
	if (UNLIKELY(row->rare != 0)) rare_sums.give(row->rare);
	row->own = 0;
	row->rare = 0;
}

// To be called before anything is added to the row.
inline void move_row(Row *row)
{
	if (row->moved == moved_mark) return;
	still_row(row);
	row->moved = moved_mark;
	constexpr u32 SUMS = __builtin_offsetof(Row, forward_bytes);
	constexpr u32 END = __builtin_offsetof(Row, since);
	__builtin_memset(reinterpret_cast<u8 *>(row) + SUMS, 0, END - SUMS);
}

inline void add_packets(Row *row, u64 forward, u64 reverse)
{
	const u64 forward_sum = row->forward_packets + forward;
	const u64 reverse_sum = row->reverse_packets + reverse;
	row->forward_packets = static_cast<u32>(forward_sum);
	row->reverse_packets = static_cast<u32>(reverse_sum);
	if (LIKELY((forward_sum | reverse_sum) >> 32 == 0)) return;
	RareSums *rare = rare_sums_of(row);
	rare->forward_packets_high += static_cast<u32>(forward_sum >> 32);
	rare->reverse_packets_high += static_cast<u32>(reverse_sum >> 32);
}

inline void add_connections(Row *row, u64 connections, u64 closed)
{
	const u64 connections_sum = row->connections + connections;
	const u64 closed_sum = row->closed + closed;
	row->connections = static_cast<u32>(connections_sum);
	row->closed = static_cast<u32>(closed_sum);
	if (LIKELY((connections_sum | closed_sum) >> 32 == 0)) return;
	RareSums *rare = rare_sums_of(row);
	rare->connections_high += static_cast<u32>(connections_sum >> 32);
	rare->closed_high += static_cast<u32>(closed_sum >> 32);
}

inline void add_rtt_sum(Row *row, u64 us)
{
	const u64 sum = row->rtt_sum_us + us;
	row->rtt_sum_us = static_cast<u32>(sum);
	if (UNLIKELY(sum >> 32 != 0)) rare_sums_of(row)->rtt_sum_us_high += static_cast<u32>(sum >> 32);
}

inline bool is_even(const records::edge_flow *flow)
{
	const u64 client = (flow->client_bytes_sent ^ flow->forward_bytes) |
			   (flow->client_bytes_received ^ flow->reverse_bytes) |
			   (flow->client_packets_sent ^ flow->forward_packets) |
			   (flow->client_packets_received ^ flow->reverse_packets);
	const u64 server = (flow->server_bytes_sent ^ flow->reverse_bytes) |
			   (flow->server_bytes_received ^ flow->forward_bytes) |
			   (flow->server_packets_sent ^ flow->reverse_packets) |
			   (flow->server_packets_received ^ flow->forward_packets);
	return (client | server) == 0 && flow->match == 3;
}

inline void add_own(Row *row, const records::edge_flow *flow)
{
	OwnSums *own = own_sums_of(row);
	own->client_bytes_sent += flow->client_bytes_sent - flow->forward_bytes;
	own->client_bytes_received += flow->client_bytes_received - flow->reverse_bytes;
	own->client_packets_sent += flow->client_packets_sent - flow->forward_packets;
	own->client_packets_received += flow->client_packets_received - flow->reverse_packets;
	own->server_bytes_sent += flow->server_bytes_sent - flow->reverse_bytes;
	own->server_bytes_received += flow->server_bytes_received - flow->forward_bytes;
	own->server_packets_sent += flow->server_packets_sent - flow->reverse_packets;
	own->server_packets_received += flow->server_packets_received - flow->forward_packets;
	if (flow->match == 3)
		row->flows_both++;
	else if (flow->match == 1)
		own->flows_client++;
	else if (flow->match == 2)
		own->flows_server++;
}

inline void add_rare(RareSums *rare, const records::edge_flow *flow)
{
	rare->forward_retransmits += flow->forward_retransmits;
	rare->reverse_retransmits += flow->reverse_retransmits;
	rare->residual_bytes += flow->residual_bytes;
	rare->judged_bytes += flow->judged_bytes;
	rare->late_bytes += flow->late_bytes;
	if (flow->from_window < open_window) rare->from_window = least(rare->from_window, flow->from_window);
	if (LIKELY(flow->reason == kernel::CLOSE_REASON_NONE)) return;
	if (flow->reset_by == 1)
		rare->resets_client += flow->reason_count;
	else if (flow->reset_by == 2)
		rare->resets_server += flow->reason_count;
}

inline void add_flow_to_row(Row *row, const records::edge_flow *flow)
{
	row->forward_bytes += flow->forward_bytes;
	row->reverse_bytes += flow->reverse_bytes;
	add_packets(row, flow->forward_packets, flow->reverse_packets);
	if ((flow->connections | flow->closed) != 0) add_connections(row, flow->connections, flow->closed);
	if (LIKELY(is_even(flow)))
		row->flows_both++;
	else
		add_own(row, flow);
	const u64 rare = flow->forward_retransmits | flow->reverse_retransmits | flow->residual_bytes |
			 flow->judged_bytes | flow->late_bytes | flow->reason;
	if (rare != 0 || UNLIKELY(flow->from_window < open_window)) add_rare(rare_sums_of(row), flow);
}

inline void add_rtt(Row *row, u32 sample_us)
{
	row->rtt_min_us = row->rtt_count == 0 ? sample_us : least(row->rtt_min_us, sample_us);
	row->rtt_max_us = greatest(row->rtt_max_us, sample_us);
	row->rtt_count++;
	add_rtt_sum(row, sample_us);
}

inline void add_own_sums(OwnSums *own, const OwnSums *below)
{
	own->client_bytes_sent += below->client_bytes_sent;
	own->client_bytes_received += below->client_bytes_received;
	own->client_packets_sent += below->client_packets_sent;
	own->client_packets_received += below->client_packets_received;
	own->server_bytes_sent += below->server_bytes_sent;
	own->server_bytes_received += below->server_bytes_received;
	own->server_packets_sent += below->server_packets_sent;
	own->server_packets_received += below->server_packets_received;
	own->flows_client += below->flows_client;
	own->flows_server += below->flows_server;
}

inline void add_rare_sums(RareSums *rare, const RareSums *below)
{
	rare->forward_retransmits += below->forward_retransmits;
	rare->reverse_retransmits += below->reverse_retransmits;
	rare->residual_bytes += below->residual_bytes;
	rare->judged_bytes += below->judged_bytes;
	rare->late_bytes += below->late_bytes;
	rare->refused += below->refused;
	rare->timed_out += below->timed_out;
	rare->abandoned += below->abandoned;
	rare->unreachable += below->unreachable;
	rare->failed_other += below->failed_other;
	rare->resets_client += below->resets_client;
	rare->resets_server += below->resets_server;
	rare->from_window = least(rare->from_window, below->from_window);
	rare->forward_packets_high += below->forward_packets_high;
	rare->reverse_packets_high += below->reverse_packets_high;
	rare->connections_high += below->connections_high;
	rare->closed_high += below->closed_high;
	rare->rtt_sum_us_high += below->rtt_sum_us_high;
}

// All sums of `below`, which moved, but what is open.
inline void add_sums(Row *row, const Row *below)
{
	row->forward_bytes += below->forward_bytes;
	row->reverse_bytes += below->reverse_bytes;
	add_packets(row, below->forward_packets, below->reverse_packets);
	add_connections(row, below->connections, below->closed);
	row->flows_both += below->flows_both;
	if (UNLIKELY(below->own != 0)) add_own_sums(own_sums_of(row), own_sums.at(below->own));
	if (UNLIKELY(below->rare != 0)) add_rare_sums(rare_sums_of(row), rare_sums.at(below->rare));
	if (below->rtt_count == 0) return;
	row->rtt_min_us = row->rtt_count == 0 ? below->rtt_min_us : least(row->rtt_min_us, below->rtt_min_us);
	row->rtt_max_us = greatest(row->rtt_max_us, below->rtt_max_us);
	row->rtt_count += below->rtt_count;
	add_rtt_sum(row, below->rtt_sum_us);
}

inline void write_booked_as_own(records::edge_point *point)
{
	point->client_bytes_sent = point->forward_bytes;
	point->client_bytes_received = point->reverse_bytes;
	point->client_packets_sent = point->forward_packets;
	point->client_packets_received = point->reverse_packets;
	point->server_bytes_sent = point->reverse_bytes;
	point->server_bytes_received = point->forward_bytes;
	point->server_packets_sent = point->reverse_packets;
	point->server_packets_received = point->forward_packets;
}

inline void write_sums(records::edge_point *point, const Row *row)
{
	point->forward_bytes = row->forward_bytes;
	point->reverse_bytes = row->reverse_bytes;
	point->forward_packets = row->forward_packets;
	point->reverse_packets = row->reverse_packets;
	point->connections = row->connections;
	point->closed = row->closed;
	point->flows_both = row->flows_both;
	point->rtt_count = row->rtt_count;
	point->rtt_min_us = row->rtt_min_us;
	point->rtt_max_us = row->rtt_max_us;
	point->rtt_sum_us = row->rtt_sum_us;
	write_booked_as_own(point);
}

inline void write_rare(records::edge_point *point, const RareSums *rare)
{
	if (rare->from_window != NOT_LATE) point->from_window = rare->from_window;
	point->forward_retransmits = rare->forward_retransmits;
	point->reverse_retransmits = rare->reverse_retransmits;
	point->residual_bytes = rare->residual_bytes;
	point->judged_bytes = rare->judged_bytes;
	point->late_bytes = rare->late_bytes;
	point->refused = rare->refused;
	point->timed_out = rare->timed_out;
	point->abandoned = rare->abandoned;
	point->unreachable = rare->unreachable;
	point->failed_other = rare->failed_other;
	point->resets_client = rare->resets_client;
	point->resets_server = rare->resets_server;
	point->forward_packets += static_cast<u64>(rare->forward_packets_high) << 32;
	point->reverse_packets += static_cast<u64>(rare->reverse_packets_high) << 32;
	point->connections += static_cast<u64>(rare->connections_high) << 32;
	point->closed += static_cast<u64>(rare->closed_high) << 32;
	point->rtt_sum_us += static_cast<u64>(rare->rtt_sum_us_high) << 32;
	write_booked_as_own(point);
}

inline void write_own(records::edge_point *point, const OwnSums *own)
{
	point->client_bytes_sent += own->client_bytes_sent;
	point->client_bytes_received += own->client_bytes_received;
	point->client_packets_sent += own->client_packets_sent;
	point->client_packets_received += own->client_packets_received;
	point->server_bytes_sent += own->server_bytes_sent;
	point->server_bytes_received += own->server_bytes_received;
	point->server_packets_sent += own->server_packets_sent;
	point->server_packets_received += own->server_packets_received;
	point->flows_client = own->flows_client;
	point->flows_server = own->flows_server;
}

// All but its nodes and histogram.
inline void write_row(records::edge_point *point, const Row *row, u32 window)
{
	zero(point);
	if (LIKELY(row->moved == moved_mark)) write_sums(point, row);
	point->level = row->level;
	point->protocol = static_cast<u8>(row->service >> 16);
	point->server_port = static_cast<u16>(row->service);
	point->active = row->active;
	point->from_window = window;
	if (UNLIKELY(row->rare != 0)) write_rare(point, rare_sums.at(row->rare));
	if (UNLIKELY(row->own != 0)) write_own(point, own_sums.at(row->own));
}
