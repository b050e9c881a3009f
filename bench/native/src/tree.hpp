// The tree of edges: leaves and the six coarser levels
// (wasm-modules/assembly/aggregate/{tree,accumulation,edges,channel-edges}.ts).
#pragma once

#include "containers.hpp"
#include "histograms.hpp"
#include "names.hpp"

constexpr u32 LEVEL_COUNT = 7;
constexpr u32 EDGE_COUNT_MAX = 1 << 19;
constexpr u32 OTHER_EDGE_COUNT = 256;
constexpr u32 ROW_COUNT_MAX = LEVEL_COUNT * (EDGE_COUNT_MAX + OTHER_EDGE_COUNT);
constexpr u32 NOT_LATE = ~0u;

constexpr u32 level_bit(u32 level)
{
	return 1u << level;
}

// As host/reducer/reducer-module.ts asks for: no histogram for each pair of ids.
constexpr u32 HISTOGRAM_LEVELS = level_bit(records::LEVEL_AZ_AZ) | level_bit(records::LEVEL_ROLE_AZ) |
				 level_bit(records::LEVEL_AZ_ROLE) | level_bit(records::LEVEL_ROLE_ROLE);

// Which levels need the samples that a row of az_az or role_az has collected.
inline bool is_collected_for(u32 level)
{
	const u32 needed = level == records::LEVEL_ROLE_AZ ? level_bit(level) | level_bit(records::LEVEL_ROLE_ROLE)
							   : level_bit(level);
	return (HISTOGRAM_LEVELS & needed) != 0;
}

struct Row {
	u32 refs;
	u32 hash;
	u32 client_node;
	u32 server_node;
	u32 service;
	u8 level;
	u8 listed;
	u8 moved;
	u8 is_other;
	u32 left;
	u32 right;
	u32 collected;
	u32 histogram;
	u32 generation;
	u32 idle_since;
	u32 tallies;
	u32 processes;
	i64 active_delta;
	records::edge_point point;
	u8 padding[16];
};
static_assert(sizeof(Row) == 320, "five cache lines");
static_assert(__builtin_offsetof(Row, point) == 64, "the head is one of them");

inline Pool<Row> rows;
inline Table row_table;
inline List<u32> row_lists[LEVEL_COUNT];

inline void list_row(u32 handle, Row *row)
{
	if (row->listed != 0) return;
	row->listed = 1;
	row_lists[row->level].push(handle);
}

inline u32 row_tag(u32 level, u32 client, u32 server, u32 service)
{
	return hash_pair(static_cast<u64>(client) << 32 | server, static_cast<u64>(level) << 32 | service);
}

inline u32 row_of(u32 level, u32 client, u32 server, u32 service);

inline u32 row_above(u32 level, u32 client, u32 server, u32 service)
{
	const u32 handle = row_of(level, client, server, service);
	rows.at(handle)->refs++;
	return handle;
}

// Found, or made with those above it.
inline u32 row_of(u32 level, u32 client, u32 server, u32 service)
{
	const u32 tag = row_tag(level, client, server, service);
	const u32 known = row_table.find(tag, [=](u32 handle) {
		const Row *row = rows.at(handle);
		return row->level == level && row->client_node == client && row->server_node == server &&
		       row->service == service;
	});
	if (known != 0) return known;
	const u32 handle = rows.take();
	if (UNLIKELY(handle == 0)) __builtin_trap();
	row_table.insert(tag, handle);
	Row *row = rows.at(handle);
	zero(row);
	row->hash = tag;
	row->client_node = client;
	row->server_node = server;
	row->service = service;
	row->level = static_cast<u8>(level);
	retain_node(client);
	retain_node(server);
	row->point.level = static_cast<u8>(level);
	row->point.protocol = static_cast<u8>(service >> 16);
	row->point.server_port = static_cast<u16>(service);
	row->point.from_window = NOT_LATE;
	u32 left = 0;
	u32 right = 0;
	switch (level) {
	case records::LEVEL_ID_ID:
		left = row_above(records::LEVEL_ID_AZ, client, nodes.at(server)->az_node, service);
		right = row_above(records::LEVEL_AZ_ID, nodes.at(client)->az_node, server, service);
		break;
	case records::LEVEL_ID_AZ:
		left = row_above(records::LEVEL_AZ_AZ, nodes.at(client)->az_node, server, service);
		break;
	case records::LEVEL_AZ_AZ:
		left = row_above(records::LEVEL_ROLE_AZ, nodes.at(client)->role_node, server, service);
		right = row_above(records::LEVEL_AZ_ROLE, client, nodes.at(server)->role_node, service);
		break;
	case records::LEVEL_ROLE_AZ:
		left = row_above(records::LEVEL_ROLE_ROLE, client, nodes.at(server)->role_node, service);
		break;
	default:
		break;
	}
	row->left = left;
	row->right = right;
	return handle;
}

// An edge as match sees it, and the leaf that its handle means to aggregate.
struct Edge {
	u32 refs;
	u32 hash;
	u32 client_node;
	u32 server_node;
	u32 service;
	u32 worker;
	u32 announced_epoch;
	u32 touched;
};

struct ChannelEdge {
	u32 leaf;
	u32 generation;
	i64 active;
	u32 processes;
	u32 pad0;
};

inline Pool<Edge> edges;
inline Pool<ChannelEdge> channel_edges;
inline Table edge_table;

// Windows for which an announcement holds (enrich/node-channel.ts).
constexpr u32 EPOCH_WINDOWS = 30;
inline u32 announce_epoch = 1;

inline void init_tree()
{
	init_histograms();
	rows.create(ROW_COUNT_MAX);
	row_table.create();
	edges.create(EDGE_COUNT_MAX + OTHER_EDGE_COUNT);
	channel_edges.create(EDGE_COUNT_MAX + OTHER_EDGE_COUNT);
	edge_table.create();
}

inline u32 edge_tag(u32 client, u32 server, u32 service)
{
	return hash_pair(static_cast<u64>(client) << 32 | server, service);
}

inline u32 edge_of(u32 client, u32 server, u32 service, u32 window)
{
	const u32 tag = edge_tag(client, server, service);
	const u32 known = edge_table.find(tag, [=](u32 row) {
		const Edge *edge = edges.at(row);
		return edge->client_node == client && edge->server_node == server && edge->service == service;
	});
	if (LIKELY(known != 0)) {
		edges.at(known)->touched = window;
		return known;
	}
	const u32 edge = edges.take();
	// More edges than that go to (other), which the mixes do not have.
	if (UNLIKELY(edge == 0)) __builtin_trap();
	edge_table.insert(tag, edge);
	*edges.at(edge) = {0, tag, client, server, service, 0, 0, window};
	retain_node(client);
	retain_node(server);
	return edge;
}

inline void announce_edge(u32 handle)
{
	Edge *edge = edges.at(handle);
	if (LIKELY(edge->announced_epoch == announce_epoch)) return;
	edge->announced_epoch = announce_epoch;
	channel_edges.ensure(handle);
	ChannelEdge *entry = channel_edges.at(handle);
	if (entry->leaf != 0 && entry->active != 0) return;
	entry->leaf = row_of(records::LEVEL_ID_ID, edge->client_node, edge->server_node, edge->service);
	entry->generation = rows.at(entry->leaf)->generation;
	entry->active = 0;
}

inline u32 leaf_of_edge(u32 handle, i32 active_delta)
{
	ChannelEdge *entry = channel_edges.at(handle);
	if (UNLIKELY(entry->leaf == 0 || rows.at(entry->leaf)->generation != entry->generation)) __builtin_trap();
	entry->active += active_delta;
	// Pairs of executables.
	if (UNLIKELY(entry->processes != 0)) __builtin_trap();
	return entry->leaf;
}

inline void add_rare(records::edge_point *point, const records::edge_flow *flow)
{
	point->forward_retransmits += flow->forward_retransmits;
	point->reverse_retransmits += flow->reverse_retransmits;
	point->residual_bytes += flow->residual_bytes;
	point->judged_bytes += flow->judged_bytes;
	point->late_bytes += flow->late_bytes;
}

inline void add_flow_to_point(records::edge_point *point, const records::edge_flow *flow)
{
	point->from_window = least(point->from_window, flow->from_window);
	point->forward_bytes += flow->forward_bytes;
	point->reverse_bytes += flow->reverse_bytes;
	point->forward_packets += flow->forward_packets;
	point->reverse_packets += flow->reverse_packets;
	const u64 rare = flow->forward_retransmits | flow->reverse_retransmits | flow->residual_bytes |
			 flow->judged_bytes | flow->late_bytes;
	if (rare != 0) add_rare(point, flow);
	point->client_bytes_sent += flow->client_bytes_sent;
	point->client_bytes_received += flow->client_bytes_received;
	point->client_packets_sent += flow->client_packets_sent;
	point->client_packets_received += flow->client_packets_received;
	point->server_bytes_sent += flow->server_bytes_sent;
	point->server_bytes_received += flow->server_bytes_received;
	point->server_packets_sent += flow->server_packets_sent;
	point->server_packets_received += flow->server_packets_received;
	if ((flow->connections | flow->closed) != 0) {
		point->connections += flow->connections;
		point->closed += flow->closed;
	}
	if (LIKELY(flow->match == 3))
		point->flows_both++;
	else if (flow->match == 1)
		point->flows_client++;
	else if (flow->match == 2)
		point->flows_server++;
	if (LIKELY(flow->reason == kernel::CLOSE_REASON_NONE)) return;
	if (flow->reset_by == 1)
		point->resets_client += flow->reason_count;
	else if (flow->reset_by == 2)
		point->resets_server += flow->reason_count;
}

inline void aggregate_flow(const records::edge_flow *flow)
{
	const u32 handle = leaf_of_edge(flow->edge, flow->active_delta);
	Row *leaf = rows.at(handle);
	count(records::REDUCER_COUNTER_EDGE_FLOWS_ADDED);
	if (UNLIKELY(leaf->is_other != 0)) __builtin_trap();
	list_row(handle, leaf);
	leaf->moved = 1;
	leaf->active_delta += flow->active_delta;
	add_flow_to_point(&leaf->point, flow);
	const u32 sample_us = flow->rtt_us;
	if (sample_us == 0) return;
	records::edge_point *point = &leaf->point;
	point->rtt_min_us = point->rtt_count == 0 ? sample_us : least(point->rtt_min_us, sample_us);
	point->rtt_max_us = greatest(point->rtt_max_us, sample_us);
	point->rtt_count++;
	point->rtt_sum_us += sample_us;
	if (leaf->collected == 0) {
		Row *az_az = rows.at(rows.at(leaf->left)->left);
		if (az_az->histogram == 0) az_az->histogram = take_histogram();
		leaf->collected = az_az->histogram;
	}
	if (LIKELY(leaf->collected != 0))
		add_samples(leaf->collected, bucket_of(least(sample_us, SAMPLE_US_MAX) / 1e6), 1);
}

inline void emit_edge_flow(u32 edge, records::edge_flow *flow)
{
	flow->edge = edge;
	count(records::REDUCER_COUNTER_EDGE_FLOWS);
	announce_edge(edge);
	aggregate_flow(flow);
}

inline void add_point(records::edge_point *above, const records::edge_point *point)
{
	above->from_window = least(above->from_window, point->from_window);
	above->forward_bytes += point->forward_bytes;
	above->reverse_bytes += point->reverse_bytes;
	above->forward_packets += point->forward_packets;
	above->reverse_packets += point->reverse_packets;
	above->forward_retransmits += point->forward_retransmits;
	above->reverse_retransmits += point->reverse_retransmits;
	above->residual_bytes += point->residual_bytes;
	above->judged_bytes += point->judged_bytes;
	above->late_bytes += point->late_bytes;
	above->client_bytes_sent += point->client_bytes_sent;
	above->client_bytes_received += point->client_bytes_received;
	above->client_packets_sent += point->client_packets_sent;
	above->client_packets_received += point->client_packets_received;
	above->server_bytes_sent += point->server_bytes_sent;
	above->server_bytes_received += point->server_bytes_received;
	above->server_packets_sent += point->server_packets_sent;
	above->server_packets_received += point->server_packets_received;
	above->connections += point->connections;
	above->closed += point->closed;
	above->refused += point->refused;
	above->timed_out += point->timed_out;
	above->abandoned += point->abandoned;
	above->unreachable += point->unreachable;
	above->failed_other += point->failed_other;
	above->resets_client += point->resets_client;
	above->resets_server += point->resets_server;
	above->flows_both += point->flows_both;
	above->flows_client += point->flows_client;
	above->flows_server += point->flows_server;
	if (point->rtt_count == 0) return;
	above->rtt_min_us = above->rtt_count == 0 ? point->rtt_min_us : least(above->rtt_min_us, point->rtt_min_us);
	above->rtt_max_us = greatest(above->rtt_max_us, point->rtt_max_us);
	above->rtt_count += point->rtt_count;
	above->rtt_sum_us += point->rtt_sum_us;
}

inline void add_row(u32 handle, const Row *row)
{
	if (handle == 0) return;
	Row *above = rows.at(handle);
	list_row(handle, above);
	above->moved = 1;
	above->active_delta += row->active_delta;
	add_point(&above->point, &row->point);
	if (row->histogram != 0 && row->level >= records::LEVEL_AZ_AZ && is_collected_for(above->level))
		merge_histogram(above->histogram, row->histogram);
}

inline void look_at_row(u32 handle)
{
	const u8 *row = reinterpret_cast<const u8 *>(rows.at(handle));
	for (u32 line = 0; line < sizeof(Row); line += 64)
		look_at(row + line);
}

inline void prefetch_rows(const List<u32> &list, u32 index)
{
	if (index >= list.size) return;
	prefetch_lines(rows.at(list.items[index]), sizeof(Row));
}

// Brings the sums of all leaves to all levels, level by level.
inline void roll_up()
{
	for (const List<u32> &list : row_lists) {
		for (u32 index = 0; index < list.size; index++) {
			prefetch_rows(list, index + 6);
			Row *row = rows.at(list.items[index]);
			if (row->moved == 0) continue;
			const i64 active = static_cast<i64>(row->point.active) + row->active_delta;
			if (UNLIKELY(active < 0)) {
				count(records::REDUCER_COUNTER_ACTIVE_UNDERFLOWS);
				row->active_delta = -static_cast<i64>(row->point.active);
				row->point.active = 0;
			} else
				row->point.active = static_cast<u64>(active);
			add_row(row->left, row);
			add_row(row->right, row);
		}
	}
}

inline void clear_row(Row *row)
{
	constexpr u32 SUMS = __builtin_offsetof(records::edge_point, from_window);
	const u64 active = row->point.active;
	__builtin_memset(reinterpret_cast<u8 *>(&row->point) + SUMS, 0, sizeof row->point - SUMS);
	row->point.active = active;
	row->point.from_window = NOT_LATE;
	row->active_delta = 0;
	row->moved = 0;
	if (row->histogram != 0) give_histogram(row->histogram);
	row->histogram = 0;
	row->collected = 0;
}

// `closed` is over: sums become 0, `active` stands, and only rows with open flows stay in the lists.
inline void settle_rows(u32 closed)
{
	for (List<u32> &list : row_lists) {
		const u32 size = list.size;
		u32 kept = 0;
		for (u32 index = 0; index < size; index++) {
			if (index + 6 < size) prefetch_to_write(rows.at(list.items[index + 6]));
			const u32 handle = list.items[index];
			Row *row = rows.at(handle);
			if (row->moved != 0) clear_row(row);
			if (UNLIKELY(row->processes != 0)) __builtin_trap();
			if (row->point.active != 0) {
				list.items[kept++] = handle;
				continue;
			}
			row->listed = 0;
			row->idle_since = closed;
		}
		list.size = kept;
	}
}
