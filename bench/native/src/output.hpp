// The WindowOutput of a closed window, byte for byte as
// wasm-modules/assembly/aggregate/{window-output,tally-output,canonical-order}.ts write it.
#pragma once

#include "tallies.hpp"

constexpr u32 NODE_INDEX_BITS = 20;

struct Entry {
	u64 key;
	u32 handle;
	// Server port and protocol of a row.
	u32 service;
};

inline u8 *output_block;
inline u64 output_capacity;
inline u32 output_length;
inline u32 output_serial;
inline List<Entry> node_entries;
inline List<Entry> row_entries;
inline List<Entry> tally_entries;

inline u64 point_key(u32 client, u32 server, u32 service)
{
	return static_cast<u64>(client) << (NODE_INDEX_BITS + 24) | static_cast<u64>(server) << 24 | service;
}

// Least significant digit first; digits that all keys share are passed over.
inline void sort_by_key(Entry *entries, u32 size)
{
	if (size < 2) return;
	static u32 counts[8][256];
	__builtin_memset(counts, 0, sizeof counts);
	for (u32 index = 0; index < size; index++)
		for (u32 digit = 0; digit < 8; digit++)
			counts[digit][entries[index].key >> (digit * 8) & 255]++;
	auto *spare = static_cast<Entry *>(take_block(size * sizeof(Entry)));
	Entry *from = entries;
	Entry *to = spare;
	for (u32 digit = 0; digit < 8; digit++) {
		u32 *places = counts[digit];
		if (places[from->key >> (digit * 8) & 255] == size) continue;
		u32 start = 0;
		for (u32 value = 0; value < 256; value++) {
			const u32 here = places[value];
			places[value] = start;
			start += here;
		}
		for (u32 index = 0; index < size; index++)
			to[places[from[index].key >> (digit * 8) & 255]++] = from[index];
		Entry *swap = from;
		from = to;
		to = swap;
	}
	if (from != entries) __builtin_memcpy(entries, from, size * sizeof(Entry));
	give_block(spare, size * sizeof(Entry));
}

inline bool is_node_before(const Entry &left, const Entry &right)
{
	return left.key != right.key ? left.key < right.key : compare_nodes(left.handle, right.handle) < 0;
}

// Merges runs of 1, 2, 4 ... entries from one array into the other.
inline void sort_nodes(Entry *entries, u32 size)
{
	auto *spare = static_cast<Entry *>(take_block(size * sizeof(Entry)));
	Entry *from = entries;
	Entry *to = spare;
	for (u32 run = 1; run < size; run *= 2) {
		for (u32 start = 0; start < size; start += 2 * run) {
			const u32 middle = least(start + run, size);
			const u32 end = least(start + 2 * run, size);
			u32 left = start;
			u32 right = middle;
			for (u32 index = start; index < end; index++) {
				const bool takes_left =
					left < middle && (right >= end || !is_node_before(from[right], from[left]));
				to[index] = from[takes_left ? left++ : right++];
			}
		}
		Entry *swap = from;
		from = to;
		to = swap;
	}
	if (from != entries) __builtin_memcpy(entries, from, size * sizeof(Entry));
	give_block(spare, size * sizeof(Entry));
}

inline void collect_node(u32 handle)
{
	Node *node = nodes.at(handle);
	if (node->output_serial == output_serial) return;
	node->output_serial = output_serial;
	node_entries.push({node->prefix, handle, 0});
}

inline bool has_histogram(u32 level)
{
	return (HISTOGRAM_LEVELS >> level & 1) != 0;
}

inline u32 histogram_record_bytes(u32 buckets)
{
	return (sizeof(records::histogram_record) + buckets * 4 + 7) & ~7u;
}

inline u32 histogram_bytes(u32 histogram)
{
	count_logged();
	const Histogram *row = histograms.at(histogram);
	return histogram_record_bytes(row->highest() - row->lowest() + 1);
}

inline u32 write_histogram(u32 histogram, u8 *to)
{
	count_logged();
	Histogram *row = histograms.at(histogram);
	const u32 lowest = row->lowest();
	const u32 buckets = row->highest() - lowest + 1;
	const u32 bytes = histogram_record_bytes(buckets);
	auto *record = reinterpret_cast<records::histogram_record *>(to);
	*record = {3, static_cast<i32>(lowest) + HISTOGRAM_INDEX_MIN, buckets, 0};
	__builtin_memset(to + bytes - 4, 0, 4);
	__builtin_memcpy(record + 1, row->count_at(lowest), buckets * 4);
	return bytes;
}

struct Writer {
	u8 *at;
	u8 *histograms_start;
	u8 *histogram;
	u32 histogram_count;

	// What EdgePoint.histogram and TallyPoint.histogram say of it.
	u32 add_histogram(u32 handle)
	{
		const u32 offset = static_cast<u32>(histogram - histograms_start) + 1;
		histogram += write_histogram(handle, histogram);
		histogram_count++;
		return offset;
	}
};

inline void write_points(Writer &writer, u32 window)
{
	Entry *entry = row_entries.items;
	for (u32 level = 0; level < LEVEL_COUNT; level++) {
		const u32 size = row_lists[level].size;
		for (u32 index = 0; index < size; index++) {
			const u32 client = nodes.at(static_cast<u32>(entry[index].key >> 32))->output_index;
			const u32 server = nodes.at(static_cast<u32>(entry[index].key))->output_index;
			entry[index].key = point_key(client, server, entry[index].service);
		}
		sort_by_key(entry, size);
		for (u32 index = 0; index < size; index++, entry++) {
			if (index + 6 < size) {
				const u8 *row = reinterpret_cast<const u8 *>(rows.at(entry[6].handle));
				for (u32 line = 0; line < sizeof(Row); line += 64)
					prefetch(row + line);
			}
			const Row *row = rows.at(entry->handle);
			auto *point = reinterpret_cast<records::edge_point *>(writer.at);
			writer.at += sizeof *point;
			write_row(point, row, window);
			point->client_node = static_cast<u32>(entry->key >> (NODE_INDEX_BITS + 24));
			point->server_node = static_cast<u32>(entry->key >> 24) & ((1 << NODE_INDEX_BITS) - 1);
			if (row->histogram != 0 && has_histogram(level))
				point->histogram = writer.add_histogram(row->histogram);
		}
	}
}

inline void write_tallies(Writer &writer)
{
	for (u32 level = 0; level < LEVEL_COUNT; level++) {
		const List<u32> &list = tally_lists[level];
		tally_entries.size = 0;
		for (u32 index = 0; index < list.size; index++) {
			const TallyRow *tally = tallies.at(list.items[index]);
			const u64 head = tally->what >> 40 << 2 | (tally->what >> 32 & 3);
			tally_entries.push({(head << 32 | (tally->what & ~0u)) << 18, list.items[index], 0});
		}
		// Both are stable, so the second keeps the order of the first among the tallies of one row.
		sort_by_key(tally_entries.items, list.size);
		for (u32 index = 0; index < list.size; index++) {
			Entry &entry = tally_entries.items[index];
			const Row *row = rows.at(tallies.at(entry.handle)->row);
			entry.key = point_key(nodes.at(row->client_node)->output_index,
					      nodes.at(row->server_node)->output_index, row->service);
		}
		sort_by_key(tally_entries.items, list.size);
		for (u32 index = 0; index < list.size; index++) {
			const TallyRow *tally = tallies.at(tally_entries.items[index].handle);
			const Row *row = rows.at(tally->row);
			auto *point = reinterpret_cast<records::tally_point *>(writer.at);
			writer.at += sizeof *point;
			zero(point);
			point->level = tally->level;
			point->protocol = static_cast<u8>(row->service >> 16);
			point->server_port = static_cast<u16>(row->service);
			point->client_node = nodes.at(row->client_node)->output_index;
			point->server_node = nodes.at(row->server_node)->output_index;
			point->kind = static_cast<u16>(tally->what >> 40);
			point->side = static_cast<u8>(tally->what >> 32);
			point->code = static_cast<u32>(tally->what);
			point->count = tally->count;
			point->sum = tally->sum;
			if (tally->histogram != 0 && has_histogram(level))
				point->histogram = writer.add_histogram(tally->histogram);
		}
	}
}

inline void write_output(u32 window)
{
	output_serial++;
	node_entries.size = 0;
	row_entries.size = 0;
	u32 histograms_bytes = 0;
	u32 tally_count = 0;
	for (u32 level = 0; level < LEVEL_COUNT; level++) {
		const List<u32> &list = row_lists[level];
		for (u32 index = 0; index < list.size; index++) {
			if (index + 8 < list.size) prefetch(rows.at(list.items[index + 8]));
			const Row *row = rows.at(list.items[index]);
			row_entries.push({static_cast<u64>(row->client_node) << 32 | row->server_node,
					  list.items[index], row->service});
			collect_node(row->client_node);
			collect_node(row->server_node);
			if (row->histogram != 0 && has_histogram(level))
				histograms_bytes += histogram_bytes(row->histogram);
		}
		tally_count += tally_lists[level].size;
		for (u32 index = 0; index < tally_lists[level].size; index++) {
			const TallyRow *tally = tallies.at(tally_lists[level].items[index]);
			if (tally->histogram != 0 && has_histogram(level))
				histograms_bytes += histogram_bytes(tally->histogram);
		}
	}
	sort_nodes(node_entries.items, node_entries.size);
	u32 node_bytes = 0;
	for (u32 index = 0; index < node_entries.size; index++) {
		Node *node = nodes.at(node_entries.items[index].handle);
		node->output_index = index;
		node_bytes += node->bytes;
	}
	const u32 points_bytes = row_entries.size * static_cast<u32>(sizeof(records::edge_point));
	const u32 tallies_bytes = tally_count * static_cast<u32>(sizeof(records::tally_point));
	const u32 head_bytes = sizeof(records::window_output);
	output_length = head_bytes + node_bytes + points_bytes + tallies_bytes + histograms_bytes;
	if (output_length > output_capacity) {
		if (output_block != nullptr) give_block(output_block, output_capacity);
		output_capacity = 1ull << block_class(output_length);
		output_block = static_cast<u8 *>(take_block(output_capacity));
	}
	u8 *at = output_block + head_bytes;
	for (u32 index = 0; index < node_entries.size; index++) {
		const Node *node = nodes.at(node_entries.items[index].handle);
		__builtin_memcpy(at, node->record, node->bytes);
		reinterpret_cast<records::node_record *>(at)->handle = index;
		at += node->bytes;
	}
	u8 *histograms_start = at + points_bytes + tallies_bytes;
	Writer writer{at, histograms_start, histograms_start, 0};
	write_points(writer, window);
	write_tallies(writer);
	auto *head = reinterpret_cast<records::window_output *>(output_block);
	zero(head);
	head->window = window;
	head->node_count = node_entries.size;
	head->node_bytes = node_bytes;
	head->point_count = row_entries.size;
	head->histogram_count = writer.histogram_count;
	head->histogram_bytes = histograms_bytes;
	head->tally_count = tally_count;
}
