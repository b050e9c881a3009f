// The tree of edges: leaves and the six coarser levels
// (wasm-modules/assembly/aggregate/{tree,accumulation,edges,channel-edges}.ts).
#pragma once

#include "containers.hpp"
#include "histograms.hpp"
#include "names.hpp"
#include "rows.hpp"

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
	row->client_node = client;
	row->server_node = server;
	row->service = service;
	row->level = static_cast<u8>(level);
	retain_node(client);
	retain_node(server);
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
	init_rows();
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

// The samples of a leaf are collected for the levels above it. A first one is the leaf's least: as long as it is the
// only one, it waits there for the roll-up.
inline void collect_sample(Row *leaf, u32 sample_us)
{
	if (leaf->collected == 0) {
		Row *az_az = rows.at(rows.at(leaf->left)->left);
		if (az_az->histogram == 0) az_az->histogram = take_histogram();
		leaf->collected = az_az->histogram;
	}
	if (LIKELY(leaf->collected != 0))
		add_samples(leaf->collected, bucket_of(least(sample_us, SAMPLE_US_MAX) / 1e6), 1);
}

// Returns the leaf.
inline u32 aggregate_flow(const records::edge_flow *flow)
{
	const u32 handle = leaf_of_edge(flow->edge, flow->active_delta);
	Row *leaf = rows.at(handle);
	count(records::REDUCER_COUNTER_EDGE_FLOWS_ADDED);
	if (UNLIKELY(leaf->is_other != 0)) __builtin_trap();
	list_row(handle, leaf);
	move_row(leaf);
	leaf->active_delta += flow->active_delta;
	add_flow_to_row(leaf, flow);
	const u32 sample_us = flow->rtt_us;
	if (sample_us == 0) return handle;
	if (leaf->rtt_count == 1) collect_sample(leaf, leaf->rtt_min_us);
	if (leaf->rtt_count != 0) collect_sample(leaf, sample_us);
	add_rtt(leaf, sample_us);
	return handle;
}

// The edge on which the flow at hand has news, and its leaf; 0 = it has none yet.
inline u32 news_edge;
inline u32 news_leaf;

inline void emit_edge_flow(u32 edge, records::edge_flow *flow)
{
	flow->edge = edge;
	count(records::REDUCER_COUNTER_EDGE_FLOWS);
	announce_edge(edge);
	news_edge = edge;
	news_leaf = aggregate_flow(flow);
}

inline void add_row(u32 handle, const Row *row)
{
	if (handle == 0) return;
	Row *above = rows.at(handle);
	list_row(handle, above);
	move_row(above);
	above->active_delta += row->active_delta;
	add_sums(above, row);
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

inline void add_to_above(Row *row)
{
	const i64 active = static_cast<i64>(row->active) + row->active_delta;
	if (UNLIKELY(active < 0)) {
		count(records::REDUCER_COUNTER_ACTIVE_UNDERFLOWS);
		row->active_delta = -static_cast<i32>(row->active);
		row->active = 0;
	} else
		row->active = static_cast<u32>(active);
	if (row->level == records::LEVEL_ID_ID && row->rtt_count == 1) collect_sample(row, row->rtt_min_us);
	add_row(row->left, row);
	add_row(row->right, row);
}

// Brings the sums of all leaves to all levels, level by level. Rows that did not move and have no open flows leave the
// lists.
inline void roll_up(u32 closing)
{
	for (List<u32> &list : row_lists) {
		u32 kept = 0;
		for (u32 index = 0; index < list.size; index++) {
			prefetch_rows(list, index + 6);
			const u32 handle = list.items[index];
			Row *row = rows.at(handle);
			const bool has_moved = row->moved == moved_mark;
			if (LIKELY(has_moved))
				add_to_above(row);
			else
				still_row(row);
			if (UNLIKELY(row->processes != 0)) __builtin_trap();
			if (LIKELY(has_moved || row->active != 0)) {
				list.items[kept++] = handle;
				continue;
			}
			row->listed = 0;
			row->idle_since = closing - 1;
		}
		list.size = kept;
	}
}

// The window is over.
inline void give_histograms()
{
	for (u32 level = records::LEVEL_AZ_AZ; level < LEVEL_COUNT; level++) {
		const List<u32> &list = row_lists[level];
		for (u32 index = 0; index < list.size; index++) {
			if (index + 6 < list.size) prefetch_to_write(rows.at(list.items[index + 6]));
			Row *row = rows.at(list.items[index]);
			if (row->histogram != 0) give_histogram(row->histogram);
			row->histogram = 0;
		}
	}
	moved_mark = 3 - moved_mark;
}
