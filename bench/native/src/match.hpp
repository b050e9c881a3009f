// Ends join into flows, and flows are booked at the window's end
// (wasm-modules/assembly/{ingest/ship,match/{receive,claims,ledger,counts,own-numbers,orientation,naming,close}}.ts,
// docs/protocol.md sections 3 to 5).
//
// Where the stages of the reducer wait for memory, one record after another, this looks ahead: what is shipped goes
// through in groups, whose rows are fetched while those before are worked on.
#pragma once

#include "briefs.hpp"
#include "ingest.hpp"
#include "pairs.hpp"
#include "tallies.hpp"

// Row of each end by its number on the channel; 0 = refused, or closed.
inline List<u32> channel_ends;

inline void set_channel_end(u32 number, u32 end)
{
	if (UNLIKELY(number >= channel_ends.capacity)) {
		u64 capacity = greatest(channel_ends.capacity, 1024u);
		while (capacity <= number)
			capacity *= 2;
		channel_ends.reserve(capacity);
	}
	channel_ends.items[number] = end;
}

inline u32 channel_end(u32 number)
{
	return LIKELY(number < channel_ends.capacity) ? channel_ends.items[number] : 0;
}

inline void raise(u64 &total, u64 told)
{
	if (told > total) total = told;
}

inline void report(u32 end, u64 bytes_sent, u64 bytes_received, u64 segments_sent, u64 segments_received,
		   u64 retransmits, u32 srtt_us, u32 from_window)
{
	End *hot = ends.at(end);
	if (UNLIKELY(hot->flow == 0)) return;
	if (UNLIKELY((hot->flags & END_CARRIES) != 0)) __builtin_trap();
	raise(hot->bytes_sent, bytes_sent);
	raise(hot->bytes_received, bytes_received);
	raise(hot->segments_sent, segments_sent);
	raise(hot->segments_received, segments_received);
	raise(hot->retransmits, retransmits);
	hot->flags |= END_REPORTED;
	if (srtt_us > hot->srtt_us) hot->srtt_us = srtt_us;
	if (from_window < hot->from_window) hot->from_window = from_window;
	touch_flow(hot->flow);
}

inline void report(u32 end, const records::end_totals &totals, u32 from_window)
{
	report(end, totals.bytes_sent, totals.bytes_received, totals.segments_sent, totals.segments_received,
	       totals.retransmits, totals.srtt_us, from_window);
}

inline u32 side_of(const records::match_open &open)
{
	return open.role == kernel::ROLE_SERVER;
}

inline u32 refuse_claim(u32 reason)
{
	count(records::REDUCER_COUNTER_CLAIMS_REFUSED);
	count_refusal(reason);
	return 0;
}

inline u32 refuse_flow()
{
	return refuse_claim(records::REFUSAL_REASON_FLOW_LIMIT);
}

// An end for a side that nobody has, to which the viewpoint goes; 0 when it is refused.
inline u32 occupy(u32 flow, const records::match_open *open, u32 viewpoint)
{
	const u32 slot = side_of(*open);
	Flow *hot_flow = flows.at(flow);
	const u32 end = take_end();
	if (UNLIKELY(end == 0)) return refuse_flow();
	End *hot = ends.at(end);
	zero(hot);
	hot->flow = flow;
	hot->from_window = NO_WINDOW;
	hot->flags = END_FRESH | END_REPORTED;
	if ((open->flags & wire::OPEN_FLAGS_EXISTING) != 0) hot->flags |= END_EXISTING;
	if ((open->flags & wire::OPEN_FLAGS_COUNTED) != 0) hot->flags |= END_COUNTED;
	hot->node = open->node;
	retain_node(open->node);
	EndCold *cold = cold_ends.at(end);
	cold->viewpoint = viewpoint;
	cold->cookie = open->cookie;
	cold->remote.set(load64(open->remote_address), load64(open->remote_address + 8));
	cold->local_port = open->local_port;
	cold->remote_port = open->remote_port;
	cold->role = open->role;
	cold->role_source = open->role_source;
	cold->close_reason = kernel::CLOSE_REASON_NONE;
	cold->protocol = open->protocol;
	cold->remote_node = 0;
	hot_flow->ends[slot] = end;
	if (hot_flow->ends[1 - slot] != 0) count(records::REDUCER_COUNTER_FLOWS_JOINED);
	FlowCold *cold_flow = cold_flows.at(flow);
	cold_flow->flags |= FLOW_RENAMED;
	if (cold_flow->begin_time == 0 || static_cast<i32>(open->start_time - cold_flow->begin_time) < 0)
		cold_flow->begin_time = open->start_time;
	touch_flow(flow);
	return end;
}

// False when `open` and the other end cannot be two ends of one connection.
inline bool can_face(u32 witness, const records::match_open *open)
{
	// Only one that was there at the last close is a witness.
	if (witness == 0 || (ends.at(witness)->flags & (END_FRESH | END_SETTLED)) != 0) return true;
	const EndCold *cold = cold_ends.at(witness);
	const Viewpoint *from = viewpoints.at(cold->viewpoint);
	if (from->address_space != open->address_space) return true;
	const bool is_local = from->local_high == load64(open->local_address) &&
			      from->local_low == load64(open->local_address + 8) &&
			      cold->local_port == open->local_port;
	const bool is_remote = load64(open->remote_address) == 0 &&
			       load64(open->remote_address + 8) == cold->remote.low() &&
			       cold->remote_port == open->remote_port;
	return !is_local && !is_remote;
}

// The end that claims its side of the flow with the join key, to which the viewpoint goes; 0 when it is refused. In the
// mixes no two sockets claim one side, and none is told again when it is over.
inline u32 claim_end(const records::match_open *open, u32 viewpoint, u32 tag, u8 shard)
{
	u32 flow = find_flow(open->join_key, tag, shard);
	if (flow == 0) {
		if (UNLIKELY(is_brief(open->join_key, tag, shard))) __builtin_trap();
		flow = add_flow(open->join_key, tag, shard);
	}
	if (UNLIKELY(flow == 0)) return refuse_flow();
	if (UNLIKELY(!can_face(flows.at(flow)->ends[1 - side_of(*open)], open)))
		return refuse_claim(records::REFUSAL_REASON_AMBIGUOUS);
	if (UNLIKELY(flows.at(flow)->ends[side_of(*open)] != 0)) return refuse_claim(records::REFUSAL_REASON_AMBIGUOUS);
	return occupy(flow, open, viewpoint);
}

inline void close_end(u32 end, u8 reason)
{
	ends.at(end)->flags |= END_CLOSED;
	EndCold *cold = cold_ends.at(end);
	if (reason > cold->close_reason) cold->close_reason = reason;
}

inline void receive_open(const records::match_open *open, u32 tag, u8 shard)
{
	// An end that is told again.
	if (UNLIKELY(channel_end(open->end) != 0)) __builtin_trap();
	const u32 viewpoint = viewpoint_of({open->boot, open->session, open->identity, open->address_space,
					    load64(open->local_address), load64(open->local_address + 8)});
	const u32 end = claim_end(open, viewpoint, tag, shard);
	set_channel_end(open->end, end);
	if (LIKELY(end != 0))
		ends.at(end)->open_count++;
	else
		release_viewpoint(viewpoint);
	release_node(open->node);
}

inline void receive_close(const records::match_close *close, u32 from_window)
{
	const u32 end = channel_end(close->end);
	set_channel_end(close->end, 0);
	free_ends.push(close->end);
	if (UNLIKELY(end == 0)) return;
	End *hot = ends.at(end);
	hot->open_count--;
	// An end that lost its side, or whose agent left.
	if (UNLIKELY(hot->flow == 0 || close->reason >= kernel::CLOSE_REASON_AGENT_RESTART)) __builtin_trap();
	Ending said = {};
	said.reason = close->reason;
	said.phase = close->phase;
	said.min_rtt_us = close->totals.min_rtt_us;
	if (UNLIKELY(is_connect_failure(close->reason))) __builtin_trap();
	keep_ending(end, hot, said);
	close_end(end, close->reason);
	report(end, close->totals, from_window);
}

struct StagedGroup {
	const records::record_header *headers[GROUP];
	u32 tags[GROUP];
	u32 size;
};

inline void ship_group(StagedGroup &group, u32 from_window)
{
	u32 found[GROUP];
	for (u32 index = 0; index < group.size; index++) {
		const records::record_header *header = group.headers[index];
		if (header->kind == records::RECORD_KIND_MATCH_CLOSE) {
			const u32 end = channel_end(reinterpret_cast<const records::match_close *>(header + 1)->end);
			found[index] = end;
			look_at(ends.at(end));
			look_at(cold_ends.at(end));
		} else if (header->kind == records::RECORD_KIND_MATCH_OPEN) {
			// The row that the slot names, as far as the slot has arrived.
			const Table &table = flow_tables[header->pad0];
			const u32 row = table.first_row(group.tags[index]);
			found[index] = row;
			look_at(flow_keys.at(row));
			look_at(cold_flows.at(row));
			look_at(flows.at(row));
		}
	}
	// Of what closes its flow, of what opens the end that it may face.
	for (u32 index = 0; index < group.size; index++) {
		const u16 kind = group.headers[index]->kind;
		if (kind == records::RECORD_KIND_MATCH_CLOSE) {
			look_at(cold_flows.at(ends.at(found[index])->flow));
		} else if (kind == records::RECORD_KIND_MATCH_OPEN && found[index] != 0) {
			const Flow *flow = flows.at(found[index]);
			look_at(ends.at(flow->ends[0] != 0 ? flow->ends[0] : flow->ends[1]));
		}
	}
	for (u32 index = 0; index < group.size; index++) {
		const records::record_header *header = group.headers[index];
		count(records::REDUCER_COUNTER_RECORDS_TO_MATCH);
		count(records::REDUCER_COUNTER_RECORDS_MATCHED);
		const void *record = header + 1;
		if (header->kind == records::RECORD_KIND_MATCH_OPEN)
			receive_open(static_cast<const records::match_open *>(record), group.tags[index],
				     static_cast<u8>(header->pad0));
		else
			receive_close(static_cast<const records::match_close *>(record), from_window);
	}
	group.size = 0;
}

// It needs nothing yet, and where the record behind it begins is only known when it is there: nobody walks ahead of it.
inline void ship_once(const records::record_header *header, u32 from_window)
{
	count(records::REDUCER_COUNTER_RECORDS_TO_MATCH);
	count(records::REDUCER_COUNTER_RECORDS_MATCHED);
	defer_once(header->pad0, reinterpret_cast<const WaitingOnce *>(header + 1), from_window);
}

// Of what is staged, this far before it is shipped.
constexpr u32 STAGED_AHEAD_BYTES = 1024;

inline void ship_staged(Session *session, u32 from_window)
{
	StagedGroup group;
	group.size = 0;
	for (StagedBlock *block = session->staged_first; block != nullptr;) {
		for (u32 at = sizeof(StagedBlock); at < block->used;) {
			const auto *header =
				reinterpret_cast<records::record_header *>(reinterpret_cast<u8 *>(block) + at);
			prefetch_lines(reinterpret_cast<const u8 *>(header) + STAGED_AHEAD_BYTES, header->size);
			at += header->size;
			if (header->kind == records::RECORD_KIND_WAITING_ONCE) {
				if (group.size != 0) ship_group(group, from_window);
				ship_once(header, from_window);
				continue;
			}
			group.headers[group.size] = header;
			if (header->kind == records::RECORD_KIND_MATCH_OPEN) {
				const auto *open = reinterpret_cast<const records::match_open *>(header + 1);
				group.tags[group.size] = flow_tag(open->join_key);
				flow_tables[header->pad0].prefetch_slot(group.tags[group.size]);
			}
			if (++group.size == GROUP) ship_group(group, from_window);
		}
		ship_group(group, from_window);
		StagedBlock *next = block->next;
		give_block(block, STAGED_BLOCK_BYTES);
		block = next;
	}
	session->staged_first = session->staged_last = nullptr;
	session->staged_bytes = 0;
}

// Group by group of rows that moved: their ends, then the flows of these are looked at before the first is worked on.
inline void ship_rows(Session *session, u32 window, u32 from_window)
{
	Socket *sockets[GROUP];
	u32 numbers[GROUP];
	while (session->dirty_head != 0) {
		u32 size = 0;
		while (size < GROUP && session->dirty_head != 0) {
			Socket *socket = socket_at(session, session->dirty_head);
			session->dirty_head = socket->next_dirty;
			const u8 flags = socket->flags;
			if (UNLIKELY(socket->state != SOCKET_OPEN)) {
				socket->flags = flags & ~SOCKET_DIRTY;
				continue;
			}
			socket->flags = flags & ~(SOCKET_DIRTY | SOCKET_MOVED | SOCKET_NEW | SOCKET_EXISTING);
			socket->reports = 0;
			if (UNLIKELY((flags & SOCKET_MOVED) == 0)) continue;
			socket->told_window = window;
			// Most probably on the list, too.
			look_at(reinterpret_cast<const u8 *>(socket) - GROUP * sizeof *socket);
			look_at(channel_ends.items + socket->end);
			sockets[size++] = socket;
		}
		counters[records::REDUCER_COUNTER_RECORDS_TO_MATCH] += size;
		counters[records::REDUCER_COUNTER_RECORDS_MATCHED] += size;
		for (u32 index = 0; index < size; index++) {
			numbers[index] = channel_end(sockets[index]->end);
			look_at(ends.at(numbers[index]));
		}
		for (u32 index = 0; index < size; index++) {
			Socket *socket = sockets[index];
			if (LIKELY(numbers[index] != 0))
				report(numbers[index], socket->bytes_sent, socket->bytes_received,
				       socket->segments_sent, socket->segments_received, socket->retransmits,
				       socket->srtt_us, from_window);
		}
	}
}

inline void ship_window(Session *session, u32 window, u32 from_window)
{
	ship_staged(session, from_window);
	ship_rows(session, window, from_window);
	session->reached_window = greatest(session->reached_window, window);
	session->told_window = session->reached_window;
	session->tally_count = 0;
}

// Announced addresses that come or go would raise it, and folds be counted: the mixes have neither.
inline u32 names_version = 1;
inline u32 fold_pairs_live;

// Stands in for the end that nobody reports.
inline End no_end;

inline bool has_flag(const End *end, u16 flag)
{
	return (end->flags & flag) != 0;
}

constexpr u32 NOBODY = 2;

inline u32 client_slot_by(u32 end, u32 slot)
{
	if (end == 0 || cold_ends.at(end)->role == kernel::ROLE_UNKNOWN) return NOBODY;
	return cold_ends.at(end)->role == kernel::ROLE_CLIENT ? slot : 1 - slot;
}

inline u8 role_source_of(u32 end)
{
	if (end == 0) return kernel::ROLE_SOURCE_NONE;
	return has_flag(ends.at(end), END_SETTLED) ? static_cast<u8>(kernel::ROLE_SOURCE_KERNEL)
						   : cold_ends.at(end)->role_source;
}

// Which slot is the client, by the best evidence of any end.
inline void orient_flow(const Flow *hot, FlowCold *cold)
{
	const u32 said[2] = {client_slot_by(hot->ends[0], 0), client_slot_by(hot->ends[1], 1)};
	if (UNLIKELY(said[0] != said[1] && said[0] != NOBODY && said[1] != NOBODY))
		count(records::REDUCER_COUNTER_ROLES_CORRECTED);
	const u32 better = role_source_of(hot->ends[0]) >= role_source_of(hot->ends[1]) ? 0 : 1;
	const u32 slot = said[better] != NOBODY ? said[better] : said[1 - better];
	// Without evidence the ports would say it.
	if (UNLIKELY(slot == NOBODY)) __builtin_trap();
	cold->client_slot = static_cast<u8>(slot);
}

inline void fill_own(const End *end, bool is_known, const OwnTotals &before, u64 &bytes_sent, u64 &bytes_received,
		     u64 &packets_sent, u64 &packets_received)
{
	if (!is_known) return;
	bytes_sent = end->bytes_sent - before.bytes_sent;
	bytes_received = end->bytes_received - before.bytes_received;
	packets_sent = end->segments_sent - before.segments_sent;
	packets_received = end->segments_received - before.segments_received;
}

// An end that is new begins at 0; one whose flow keeps no row stood at what is booked.
inline void fill_own_numbers(const Flow *flow, const FlowCold *cold, const End *client, const End *server,
			     records::edge_flow *out)
{
	OwnTotals of_client = {};
	OwnTotals of_server = {};
	const u32 own = own_of(cold);
	if (!has_flag(client, END_FRESH))
		of_client = own != 0 ? own_rows.at(own)->client
				     : OwnTotals{flow->forward_bytes, flow->reverse_bytes, flow->forward_packets,
						 flow->reverse_packets};
	else if (UNLIKELY(client->baseline != 0))
		__builtin_trap();
	if (!has_flag(server, END_FRESH))
		of_server = own != 0 ? own_rows.at(own)->server
				     : OwnTotals{flow->reverse_bytes, flow->forward_bytes, flow->reverse_packets,
						 flow->forward_packets};
	else if (UNLIKELY(server->baseline != 0))
		__builtin_trap();
	fill_own(client, client != &no_end, of_client, out->client_bytes_sent, out->client_bytes_received,
		 out->client_packets_sent, out->client_packets_received);
	fill_own(server, server != &no_end, of_server, out->server_bytes_sent, out->server_bytes_received,
		 out->server_packets_sent, out->server_packets_received);
}

inline void keep_own_totals(const Flow *flow, FlowCold *cold, const End *client, const End *server)
{
	const u64 of_client =
		(client->bytes_sent ^ flow->forward_bytes) | (client->bytes_received ^ flow->reverse_bytes) |
		(client->segments_sent ^ flow->forward_packets) | (client->segments_received ^ flow->reverse_packets);
	const u64 of_server =
		(server->bytes_sent ^ flow->reverse_bytes) | (server->bytes_received ^ flow->forward_bytes) |
		(server->segments_sent ^ flow->reverse_packets) | (server->segments_received ^ flow->forward_packets);
	if (LIKELY((client == &no_end || of_client == 0) && (server == &no_end || of_server == 0))) {
		drop_own_totals(cold);
		return;
	}
	OwnRow *row = open_own_totals(cold);
	row->client = {client->bytes_sent, client->bytes_received, client->segments_sent, client->segments_received};
	row->server = {server->bytes_sent, server->bytes_received, server->segments_sent, server->segments_received};
}

// The end whose total was booked says from which window on; when both have it, the one that is less late.
inline void mark_late(records::edge_flow *out, u64 bytes, const End *sender, u64 sent, const End *receiver,
		      u64 received, u32 window)
{
	const u32 sender_from = sender->from_window == NO_WINDOW ? 0 : sender->from_window;
	const u32 receiver_from = receiver->from_window == NO_WINDOW ? 0 : receiver->from_window;
	const u32 from = sent > received   ? sender_from
			 : received > sent ? receiver_from
					   : greatest(sender_from, receiver_from);
	if (LIKELY(from == 0 || from >= window)) return;
	out->late_bytes += bytes;
	out->from_window = least(out->from_window, from);
}

inline u64 book(u64 &booked, u64 total)
{
	if (total <= booked) return 0;
	const u64 rise = total - booked;
	booked = total;
	return rise;
}

// Per direction the greater of sender and receiver; `booked` never falls.
inline void book_totals(Flow *flow, const End *client, const End *server, u32 window, records::edge_flow *out)
{
	out->from_window = window;
	out->forward_bytes = book(flow->forward_bytes, greatest(client->bytes_sent, server->bytes_received));
	if (out->forward_bytes != 0)
		mark_late(out, out->forward_bytes, client, client->bytes_sent, server, server->bytes_received, window);
	out->reverse_bytes = book(flow->reverse_bytes, greatest(server->bytes_sent, client->bytes_received));
	if (out->reverse_bytes != 0)
		mark_late(out, out->reverse_bytes, server, server->bytes_sent, client, client->bytes_received, window);
	out->forward_packets = book(flow->forward_packets, greatest(client->segments_sent, server->segments_received));
	out->reverse_packets = book(flow->reverse_packets, greatest(server->segments_sent, client->segments_received));
	out->forward_retransmits = book(flow->forward_retransmits, client->retransmits);
	out->reverse_retransmits = book(flow->reverse_retransmits, server->retransmits);
}

constexpr u8 IPPROTO_DATAGRAMS = 17;

inline u64 difference(u64 left, u64 right)
{
	return left > right ? left - right : right - left;
}

inline bool mark(FlowCold *cold, u16 flag)
{
	if ((cold->flags & flag) != 0) return false;
	cold->flags |= flag;
	return true;
}

inline u8 reason_of(const End *end, u32 handle)
{
	return has_flag(end, END_CLOSED) ? cold_ends.at(handle)->close_reason
					 : static_cast<u8>(kernel::CLOSE_REASON_NONE);
}

// 1 = the client reset the connection, 2 = the server, 0 = nobody.
inline u8 reset_sender(u8 client, u8 server)
{
	if (client == kernel::CLOSE_REASON_RESET_SENT || server == kernel::CLOSE_REASON_RESET_RECEIVED) return 1;
	if (server == kernel::CLOSE_REASON_RESET_SENT || client == kernel::CLOSE_REASON_RESET_RECEIVED) return 2;
	return 0;
}

inline void count_close(const Flow *hot, FlowCold *cold, const End *client, const End *server, records::edge_flow *out)
{
	if (mark(cold, FLOW_CLOSED_COUNTED)) out->closed = 1;
	const u8 client_reason = reason_of(client, hot->ends[cold->client_slot]);
	const u8 server_reason = reason_of(server, hot->ends[1 - cold->client_slot]);
	const u8 sender = reset_sender(client_reason, server_reason);
	if (UNLIKELY(sender != 0) && mark(cold, FLOW_RESET_COUNTED)) {
		const bool is_sent = (sender == 1 ? client_reason : server_reason) == kernel::CLOSE_REASON_RESET_SENT;
		out->reset_by = sender;
		out->reason = is_sent ? kernel::CLOSE_REASON_RESET_SENT : kernel::CLOSE_REASON_RESET_RECEIVED;
		out->reason_count = 1;
	}
	if (!has_flag(client, END_CLOSED) || !has_flag(server, END_CLOSED)) return;
	// Of datagrams the difference is loss.
	if (UNLIKELY(cold_ends.at(hot->ends[cold->client_slot])->protocol == IPPROTO_DATAGRAMS)) __builtin_trap();
	if (!mark(cold, FLOW_JUDGED)) return;
	out->residual_bytes = difference(client->bytes_sent, server->bytes_received) +
			      difference(server->bytes_sent, client->bytes_received);
	out->judged_bytes = greatest(client->bytes_sent, server->bytes_received) +
			    greatest(server->bytes_sent, client->bytes_received);
}

// The only end of a flow whose connection nobody counted, that closed with the word that it never was connected.
inline bool has_failed(const Flow *hot, const FlowCold *cold, const End *client, const End *server)
{
	const bool is_counted = (cold->flags & FLOW_CONNECTION_COUNTED) != 0;
	if (is_counted || (client != &no_end && server != &no_end)) return false;
	const u32 slot = client != &no_end ? cold->client_slot : 1u - cold->client_slot;
	return is_connect_failure(reason_of(client != &no_end ? client : server, hot->ends[slot]));
}

inline void count_changes(const Flow *hot, FlowCold *cold, const End *client, const End *server,
			  records::edge_flow *out)
{
	// A connect that failed, and an end that an earlier incarnation settled.
	if (UNLIKELY(cold->kind != KEY_KIND_JOIN || has_failed(hot, cold, client, server))) __builtin_trap();
	if (UNLIKELY(has_flag(client, END_SETTLED) || has_flag(server, END_SETTLED))) __builtin_trap();
	if (UNLIKELY(has_flag(client, END_COUNTED) || has_flag(server, END_COUNTED)))
		mark(cold, FLOW_CONNECTION_COUNTED);
	else {
		const bool is_opening_seen = (client != &no_end && !has_flag(client, END_EXISTING)) ||
					     (server != &no_end && !has_flag(server, END_EXISTING));
		if (is_opening_seen && mark(cold, FLOW_CONNECTION_COUNTED)) out->connections = 1;
	}
	if (has_flag(client, END_CLOSED) || has_flag(server, END_CLOSED)) count_close(hot, cold, client, server, out);
}

inline void count_flow(const Flow *hot, FlowCold *cold, const End *client, const End *server, records::edge_flow *out)
{
	out->match = (has_flag(client, END_REPORTED | END_CLOSED) ? 1 : 0) |
		     (has_flag(server, END_REPORTED | END_CLOSED) ? 2 : 0);
	const bool is_open = ((client->flags | server->flags) & END_CLOSED) == 0;
	// What goes on was counted when it began: most flows of a window.
	if (!is_open || (cold->flags & FLOW_CONNECTION_COUNTED) == 0) count_changes(hot, cold, client, server, out);
}

inline bool has_news(const records::edge_flow *out)
{
	return (out->forward_bytes | out->reverse_bytes | out->forward_packets | out->reverse_packets |
		out->forward_retransmits | out->reverse_retransmits | out->judged_bytes | out->connections |
		out->closed | out->rtt_us | out->reason_count | out->client_bytes_sent | out->client_bytes_received |
		out->client_packets_sent | out->client_packets_received | out->server_bytes_sent |
		out->server_bytes_received | out->server_packets_sent | out->server_packets_received) != 0;
}

// 0 of a flow of which one end is told by nobody: who that is would follow from its address, which the mixes have no
// need of.
inline u32 find_edge(const Flow *hot, FlowCold *cold, const End *client, const End *server, u32 window)
{
	cold->flags &= ~FLOW_RENAMED;
	cold->named_version = names_version;
	if (UNLIKELY(client == &no_end || server == &no_end)) return 0;
	// Without a tuple or an owner an end would be named by its address, and without a role by the lower port.
	const bool is_nameless = has_flag(client, END_SETTLED) || has_flag(server, END_SETTLED) || client->node == 0 ||
				 server->node == 0 || (cold->flags & FLOW_UNORIENTED) != 0;
	if (UNLIKELY(is_nameless)) __builtin_trap();
	const EndCold *end = cold_ends.at(hot->ends[1 - cold->client_slot]);
	return edge_of(client->node, server->node, end->local_port | static_cast<u32>(end->protocol) << 16, window);
}

// Sends what the flow adds to its edge, which it retains while it is active.
inline u32 send_news(Flow *hot, FlowCold *cold, const End *client, const End *server, bool is_active, u32 window,
		     records::edge_flow *out)
{
	const bool was_active = (cold->flags & FLOW_ACTIVE) != 0;
	const bool is_stale =
		hot->edge == 0 || (cold->flags & FLOW_RENAMED) != 0 || cold->named_version != names_version;
	if (!has_news(out) && is_active == was_active && !(is_active && is_stale)) return 0;
	const u32 edge = is_stale ? find_edge(hot, cold, client, server, window) : hot->edge;
	if (UNLIKELY(edge == 0)) return 0;
	// A flow that is named anew leaves its edge.
	if (UNLIKELY(was_active && edge != hot->edge)) __builtin_trap();
	out->active_delta = static_cast<i32>(is_active) - static_cast<i32>(was_active);
	emit_edge_flow(edge, out);
	if (is_active && !was_active) edges.at(edge)->refs++;
	if (!is_active && was_active) edges.at(edge)->refs--;
	hot->edge = is_active ? edge : 0;
	if (is_active)
		cold->flags |= FLOW_ACTIVE;
	else
		cold->flags &= ~FLOW_ACTIVE;
	return edge;
}

inline void begin_end_window(End *end)
{
	if (end == &no_end) return;
	end->flags &= ~(END_FRESH | END_MERGED | END_REPORTED | END_HELD | END_CLOSING);
	if (end->open_count != 0) end->flags |= END_HELD;
	end->srtt_us = 0;
	end->from_window = NO_WINDOW;
}

inline End *end_or_none(u32 end)
{
	return LIKELY(end != 0) ? ends.at(end) : &no_end;
}

// Books what is new of a flow and sends it. `is_active`: an end of it is open. Returns its edge, 0 when nothing was
// sent.
inline u32 book_news(Flow *hot, FlowCold *cold, bool is_active, u32 window)
{
	if ((cold->flags & FLOW_BOOKED) == 0) orient_flow(hot, cold);
	const End *client = end_or_none(hot->ends[cold->client_slot]);
	const End *server = end_or_none(hot->ends[1 - cold->client_slot]);
	records::edge_flow out = {};
	news_edge = 0;
	fill_own_numbers(hot, cold, client, server, &out);
	// Where counting starts, and history that is due.
	if (UNLIKELY(has_rare_rows(cold) || (client->baseline | server->baseline) != 0)) __builtin_trap();
	book_totals(hot, client, server, window, &out);
	cold->flags |= FLOW_BOOKED;
	out.rtt_us = client->srtt_us != 0 ? client->srtt_us : server->srtt_us;
	count_flow(hot, cold, client, server, &out);
	// News of a flow that may be of a fold wait.
	if (UNLIKELY(fold_pairs_live != 0)) __builtin_trap();
	return send_news(hot, cold, client, server, is_active, window, &out);
}

inline void book_flow(u32 flow, u32 window)
{
	Flow *hot = flows.at(flow);
	FlowCold *cold = cold_flows.at(flow);
	if (UNLIKELY((hot->ends[0] | hot->ends[1]) == 0)) {
		forget_flow(flow);
		return;
	}
	const bool is_active = (end_or_none(hot->ends[0])->open_count | end_or_none(hot->ends[1])->open_count) != 0;
	const u32 edge = book_news(hot, cold, is_active, window);
	const u32 client_end = hot->ends[cold->client_slot];
	End *client = end_or_none(client_end);
	End *server = end_or_none(hot->ends[1 - cold->client_slot]);
	keep_own_totals(hot, cold, client, server);
	if (cold->tallies != 0 && edge != 0) send_endings(cold, client_end, edge);
	begin_end_window(client);
	begin_end_window(server);
	if (!is_active) linger_flow(flow, cold, window, has_flag(client, END_CLOSED) && has_flag(server, END_CLOSED));
}

// Looks at the rows of the flows that were touched last, and of their ends; returns how many they are.
inline u32 look_at_touched(u32 until)
{
	const u32 size = least(touched_flows.size - until, GROUP);
	const u32 *group = touched_flows.items + (touched_flows.size - size);
	for (u32 index = 0; index < size; index++) {
		look_at(flows.at(group[index]));
		look_at(cold_flows.at(group[index]));
	}
	for (u32 index = size; index-- > 0;) {
		const Flow *hot = flows.at(group[index]);
		if (hot->ends[0] != 0) look_at(ends.at(hot->ends[0]));
		if (hot->ends[1] != 0) look_at(ends.at(hot->ends[1]));
		prefetch_to_write(channel_edges.at(hot->edge));
	}
	return size;
}

// Where a close is: its shard, SHARD_COUNT when all are through; how many flows were touched before anything of a shard
// was claimed; how many were looked at and are still to be booked.
struct Close {
	bool is_open;
	u32 shard;
	u32 touched_before;
	u32 ahead;
	// The connections among what waits in the shard were looked for.
	bool is_paired;
	// What of the shard waits is booked up to here.
	OnceWalk walk;
	// Onces that were looked at and are still to be booked.
	u32 onces_ahead;
};

inline Close closing;

inline u32 next_touched(u32 until)
{
	if (closing.ahead == 0) closing.ahead = look_at_touched(until);
	if (closing.ahead != 0) closing.ahead--;
	return take_touched(until);
}

inline WaitingOnce *next_waiting(const OnceChain &list)
{
	if (closing.onces_ahead == 0) closing.onces_ahead = look_at_onces(list, closing.walk, closing.shard);
	if (closing.onces_ahead == 0) return nullptr;
	closing.onces_ahead--;
	return next_once(list, closing.walk);
}

// What the record holds is the end's, too.
inline void fill_end(u32 end, u32 flow, const WaitingOnce *once)
{
	u16 flags = END_FRESH | END_REPORTED | END_CLOSED | END_CLOSING;
	if ((once->flags & wire::OPEN_FLAGS_EXISTING) != 0) flags |= END_EXISTING;
	if ((once->flags & wire::OPEN_FLAGS_COUNTED) != 0) flags |= END_COUNTED;
	*ends.at(end) = {once->bytes_sent,
			 once->bytes_received,
			 once->segments_sent,
			 once->segments_received,
			 once->retransmits,
			 once->srtt_us,
			 once->from_window,
			 flow,
			 0,
			 flags,
			 once->node,
			 0};
	*cold_ends.at(end) = {once->cookie, once->remote,      once->viewpoint, once->local_port, once->remote_port,
			      once->role,   once->role_source, once->reason,	once->protocol,	  once->remote_node};
	flows.at(flow)->ends[once->slot()] = end;
}

// A flow of both ends of a connection, of which nothing else was told; it is in no table.
inline u32 flow_of_pair(const WaitingOnce *once, const WaitingOnce *other)
{
	BriefRows &scratch = brief_rows;
	if (UNLIKELY(scratch.flow == 0)) scratch = {take_flow(), {take_end(), take_end()}};
	begin_flow(scratch.flow, once->join_key, static_cast<u8>(closing.shard));
	fill_end(scratch.ends[0], scratch.flow, once);
	fill_end(scratch.ends[1], scratch.flow, other);
	count(records::REDUCER_COUNTER_FLOWS_JOINED);
	return scratch.flow;
}

// Tells and books both in one go.
inline void book_brief(WaitingOnce *once, u32 window)
{
	WaitingOnce *other = once_at(once->other);
	other->other = TAKEN_ONCE;
	const u32 flow = flow_of_pair(once, other);
	FlowCold *cold = cold_flows.at(flow);
	const u32 edge = book_news(flows.at(flow), cold, false, window);
	if (LIKELY(edge != 0)) {
		const u32 leaf = begin_tallies(edge);
		const bool is_client = once->slot() == cold->client_slot;
		send_ending(leaf, is_client ? once : other, records::TALLY_SIDE_CLIENT);
		send_ending(leaf, is_client ? other : once, records::TALLY_SIDE_SERVER);
	}
	keep_brief(cold, once, closing.shard);
}

inline bool is_unknown(const WaitingOnce *once)
{
	const u8 shard = static_cast<u8>(closing.shard);
	return find_flow(once->join_key, once->tag, shard) == 0 && !is_brief(once->join_key, once->tag, shard);
}

// Claims, books or forgets one flow of a shard; false when all shards are through.
inline bool close_shards(u32 window)
{
	for (; closing.shard < SHARD_COUNT; closing.shard++) {
		OnceChain &list = once_lists[closing.shard];
		if (!closing.is_paired) {
			closing.is_paired = true;
			closing.walk = {list.first, 0};
			if (list.size != 0) begin_briefs(window, pair_onces(list));
		}
		WaitingOnce *waiting = next_waiting(list);
		if (waiting != nullptr) {
			// Of its key there is a flow: the mixes have none.
			if (UNLIKELY(!is_unknown(waiting))) __builtin_trap();
			book_brief(waiting, window);
			return true;
		}
		if (list.size != 0) {
			keep_onces(closing.shard, list);
			closing.walk = {};
			closing.onces_ahead = 0;
		}
		const u32 flow = next_touched(closing.touched_before);
		if (flow != 0) {
			book_flow(flow, window);
			return true;
		}
		if (forget_committed(closing.shard) || forget_committed_briefs(closing.shard)) return true;
		closing.is_paired = false;
	}
	return false;
}

inline void set_live_counters()
{
	u64 briefs = 0;
	for (const ShardBriefs &kept : shard_briefs)
		briefs += kept.size;
	counters[records::REDUCER_COUNTER_FLOWS_LIVE] = flows.live + briefs;
	counters[records::REDUCER_COUNTER_ENDS_LIVE] = ends.live + 2 * briefs;
	counters[records::REDUCER_COUNTER_FLOWS_LINGERING] = lingering_flows + briefs;
}

// Shard by shard what waits is claimed and booked, and what is committed leaves its rows to the next shard; then come
// the flows that were touched in the window. At most `budget` flows at once; true when the window is closed.
inline bool close_match(u32 window, u32 budget)
{
	if (!closing.is_open) closing = {true, 0, touched_flows.size, 0, false, {}, 0};
	for (u32 done = 0; done < budget; done++) {
		if (close_shards(window)) continue;
		const u32 flow = next_touched(0);
		if (flow == 0) {
			closing.is_open = false;
			end_briefs();
			waiting_endings = 0;
			expire_lingering(window);
			expire_briefs(window);
			set_live_counters();
			return true;
		}
		book_flow(flow, window);
	}
	return false;
}
