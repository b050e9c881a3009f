// The reducer's loop, as one worker has it: names before, then window by window frames, match, close.
#pragma once

#include "match.hpp"
#include "output.hpp"

inline void init_reducer(u32 first_window, u64 length_ns)
{
	seed_low = 1;
	seed_high = 1;
	open_window = first_window;
	window_ns = length_ns;
	init_allowance();
	announce_epoch = first_window / EPOCH_WINDOWS + 1;
	sessions = allocate<Session>(SESSION_COUNT_MAX);
	init_names();
	init_claims();
	init_flows(length_ns);
	init_tree();
	init_tallies();
	init_endings();
	no_end.from_window = NO_WINDOW;
}

// The agent of session `index` announces a process: a NodeRecord.
inline void name_process(u32 index, u32 process, const records::node_record *record)
{
	Session *session = sessions + index;
	session->session = session->boot = session->identity = index + 1;
	session->spaces.reserve(16);
	session->spaces.items[1] = 1;
	u64 capacity = greatest(session->processes.capacity, 16u);
	while (capacity <= process)
		capacity *= 2;
	session->processes.reserve(capacity);
	session->processes.items[process] = node_of(record);
}

inline void name_address(u32 index, const u8 *address)
{
	add_claim(load64(address), load64(address + 8), 1, index + 1);
}

// In place of a process: 16 bytes of an address of the host follow.
constexpr u32 ADDRESS_OF_HOST = ~0u;

// What all agents announce: u32 agent, u32 process, then a NodeRecord.
inline void read_names(const u8 *names, u64 bytes)
{
	for (u64 at = 0; at < bytes;) {
		const u64 head = load64(names + at);
		const u32 agent = static_cast<u32>(head);
		const u32 process = static_cast<u32>(head >> 32);
		at += 8;
		if (process == ADDRESS_OF_HOST) {
			name_address(agent, names + at);
			at += 16;
		} else {
			const auto *record = reinterpret_cast<const records::node_record *>(names + at);
			name_process(agent, process, record);
			at += record_bytes(record);
		}
	}
}

// A slice of the rows, at least this many, a sixteenth when that is more, is looked at for what has been idle for long.
constexpr u32 SWEEP_ROWS_MIN = 4096;
constexpr u32 EDGE_IDLE_WINDOWS = 60;
constexpr u32 TALLY_IDLE_WINDOWS = 12;

template <typename T, typename Visit> inline void sweep(Pool<T> &pool, u32 &cursor, Visit visit)
{
	const u32 end = pool.fresh;
	for (u32 left = least(end, greatest(SWEEP_ROWS_MIN, end >> 4)); left != 0; left--) {
		if (cursor >= end) cursor = 1;
		if (cursor >= end) return;
		visit(cursor, pool.at(cursor));
		cursor++;
	}
}

// Connections of the mixes run between the same places all the time, so no edge and no leaf is idle: of these what
// remains is the cost of looking.
inline void sweep_idle(u32 closed)
{
	static u32 tally_cursor = 1;
	static u32 row_cursor = 1;
	static u32 edge_cursor = 1;
	sweep(tallies, tally_cursor, [=](u32 handle, TallyRow *tally) {
		const bool is_leaf = tally->row != 0 && tally->level == records::LEVEL_ID_ID;
		if (is_leaf && tally->idle_since + TALLY_IDLE_WINDOWS <= closed) free_leaf_tally(handle, tally);
	});
	sweep(rows, row_cursor, [=](u32, const Row *row) {
		const bool is_idle = row->level == records::LEVEL_ID_ID && row->listed == 0 && row->tallies == 0;
		if (UNLIKELY(is_idle && row->client_node != 0 && row->idle_since + EDGE_IDLE_WINDOWS <= closed))
			__builtin_trap();
	});
	sweep(edges, edge_cursor, [=](u32, const Edge *edge) {
		const bool is_idle = edge->client_node != 0 && edge->refs == 0;
		if (UNLIKELY(is_idle && edge->touched + EDGE_IDLE_WINDOWS < closed + 1)) __builtin_trap();
	});
}

inline void close_aggregate()
{
	const u32 window = open_window - 1;
	roll_up(window);
	roll_up_tallies();
	write_output(window);
	give_histograms();
	settle_tallies(window);
	sweep_idle(window);
	announce_epoch = open_window / EPOCH_WINDOWS + 1;
}

// Flows that are booked before a worker looks after its connections again (host/reducer/worker-core.ts).
constexpr u32 CLOSE_ROWS_BUDGET = 4096;

inline void close_window()
{
	while (!close_match(open_window, CLOSE_ROWS_BUDGET)) {}
	open_window++;
}
