// Nodes: what an end is, its role in a zone, its role alone. They are announced before anything is measured, one by one
// with all their texts; what is measured takes the handles of processes, and puts the nodes of an output in order.
#pragma once

#include "containers.hpp"

constexpr u32 TEXT_COUNT = 10;

struct Node {
	// A NodeRecord with its texts, padded: as it leaves, but for the handle.
	records::node_record *record;
	u32 bytes;
	u32 az_node;
	u32 role_node;
	u32 refs;
	u32 output_serial;
	u32 output_index;
	// Its id, first bytes first, as a number that compares like them.
	u64 prefix;
};

inline Pool<Node> nodes;
inline Table node_table;

inline u32 text_bytes(const records::node_record *record, u32 text)
{
	const u16 bytes[TEXT_COUNT] = {record->id_bytes,	record->role_bytes,	      record->zone_bytes,
				       record->host_bytes,	record->address_bytes,	      record->process_bytes,
				       record->container_bytes, record->container_name_bytes, record->image_bytes,
				       record->pod_bytes};
	return bytes[text];
}

inline const u8 *texts_of(const records::node_record *record)
{
	return reinterpret_cast<const u8 *>(record + 1);
}

inline u32 record_bytes(const records::node_record *record)
{
	u32 bytes = sizeof *record;
	for (u32 text = 0; text < TEXT_COUNT; text++)
		bytes += text_bytes(record, text);
	return (bytes + 7) & ~7u;
}

inline u32 hash_record(const records::node_record *record, u32 bytes)
{
	u64 hash = bytes;
	for (u32 at = 8; at < bytes; at += 8)
		hash = stable_hash_pair(hash, load64(reinterpret_cast<const u8 *>(record) + at));
	return static_cast<u32>(hash) ^ record->kind;
}

inline u32 node_of(const records::node_record *record);

// The same kind with the role, and the zone if it is asked for.
inline u32 derive_node(const records::node_record *from, bool with_zone)
{
	u64 room[(sizeof(records::node_record) + 256) / 8] = {};
	auto *record = reinterpret_cast<records::node_record *>(room);
	record->kind = from->kind;
	record->role_bytes = from->role_bytes;
	record->zone_bytes = with_zone ? from->zone_bytes : 0;
	__builtin_memcpy(record + 1, texts_of(from) + from->id_bytes, record->role_bytes + record->zone_bytes);
	return node_of(record);
}

// The node with these texts; it stays for ever.
inline u32 node_of(const records::node_record *record)
{
	const u32 bytes = record_bytes(record);
	const u32 tag = hash_record(record, bytes);
	const u32 known = node_table.find(tag, [=](u32 row) {
		const Node *node = nodes.at(row);
		return node->bytes == bytes && node->record->kind == record->kind &&
		       compare_bytes(reinterpret_cast<const u8 *>(node->record) + 6,
				     reinterpret_cast<const u8 *>(record) + 6, bytes - 6) == 0;
	});
	if (known != 0) return known;
	const u32 handle = nodes.take();
	node_table.insert(tag, handle);
	Node *node = nodes.at(handle);
	zero(node);
	node->record = static_cast<records::node_record *>(arena.take(bytes));
	node->bytes = bytes;
	__builtin_memcpy(node->record, record, bytes);
	for (u32 byte = 0; byte < 8; byte++)
		node->prefix |=
			byte < record->id_bytes ? static_cast<u64>(texts_of(record)[byte]) << (56 - byte * 8) : 0;
	if (record->id_bytes != 0) {
		node->az_node = derive_node(node->record, true);
		node->role_node = derive_node(node->record, false);
	} else {
		node->role_node = record->zone_bytes != 0 ? derive_node(node->record, false) : handle;
	}
	return handle;
}

// Order of an output: the bytes of id, role and zone, the kind, then those of the other texts.
inline int compare_nodes(u32 left, u32 right)
{
	const records::node_record *a = nodes.at(left)->record;
	const records::node_record *b = nodes.at(right)->record;
	const u8 *at_a = texts_of(a);
	const u8 *at_b = texts_of(b);
	for (u32 text = 0; text < TEXT_COUNT; text++) {
		if (text == 3 && a->kind != b->kind) return a->kind - b->kind;
		const u32 bytes_a = text_bytes(a, text);
		const u32 bytes_b = text_bytes(b, text);
		const int order = compare_bytes(at_a, at_b, least(bytes_a, bytes_b));
		if (order != 0) return order;
		if (bytes_a != bytes_b) return bytes_a < bytes_b ? -1 : 1;
		at_a += bytes_a;
		at_b += bytes_b;
	}
	return 0;
}

inline void init_names()
{
	nodes.create(1 << 19);
	node_table.create();
}

inline void retain_node(u32 node)
{
	nodes.at(node)->refs++;
}

inline void release_node(u32 node)
{
	nodes.at(node)->refs--;
}
