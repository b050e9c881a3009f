// What ends count beyond the columns of an edge: how their sockets ended, in rows of their own under the same tree
// (wasm-modules/assembly/aggregate/{tallies,tally-output}.ts). No tally of the mixes has a label, and none is told by
// itself.
#pragma once

#include "onces.hpp"
#include "tree.hpp"

constexpr u32 TALLY_COUNT_MAX = 1 << 18;
constexpr u32 NEAR_COUNT_MAX = 8;
constexpr u32 TELLER_COUNT = 256;
// Kinds that have a histogram, as bits: those whose unit in schemas/metrics.yaml is a time.
constexpr u64 SAMPLED_TALLY_KINDS = 0x10000000c0e;

struct TallyRow {
	u64 what;
	u64 count;
	u64 sum;
	u32 label;
	u32 row;
	u32 left;
	u32 right;
	u32 histogram;
	u32 collected;
	u32 next;
	// Tallies that point to this one; of a leaf, to which none do, the tally before it in the leaf's list.
	u32 refs;
	u32 idle_since;
	u8 level;
	u8 listed;
	u8 teller;
	u8 pad0;

	u32 &previous()
	{
		return refs;
	}
};
static_assert(sizeof(TallyRow) == 64, "one cache line");

inline Pool<TallyRow> tallies;
inline Table tally_table;
inline List<u32> tally_lists[LEVEL_COUNT];
inline u32 leaf_tallies;
inline u32 tallies_of_teller[TELLER_COUNT];
// That of a leaf which was found last; 0 = none.
inline u32 recent_tally;

inline void init_tallies()
{
	tallies.create(LEVEL_COUNT * TALLY_COUNT_MAX);
	tally_table.create();
}

inline u64 tally_identity(u16 kind, u8 side, u32 code)
{
	return static_cast<u64>(kind) << 40 | static_cast<u64>(side) << 32 | code;
}

inline u32 tally_tag(u32 level, u32 row, u64 what)
{
	return hash_pair(what ^ static_cast<u64>(level) << 56, static_cast<u64>(row) << 32);
}

inline u32 find_tally(u32 level, u32 row, u64 what)
{
	return tally_table.find(tally_tag(level, row, what), [=](u32 handle) {
		const TallyRow *tally = tallies.at(handle);
		return tally->what == what && tally->label == 0 && tally->row == row && tally->level == level;
	});
}

inline u32 create_tally(u32 level, u32 row, u64 what);

inline u32 tally_above(u32 above, u64 what)
{
	if (above == 0) return 0;
	const u32 level = rows.at(above)->level;
	u32 handle = find_tally(level, above, what);
	if (handle == 0) handle = create_tally(level, above, what);
	tallies.at(handle)->refs++;
	return handle;
}

inline u32 create_tally(u32 level, u32 row, u64 what)
{
	const u32 handle = tallies.take();
	if (UNLIKELY(handle == 0)) __builtin_trap();
	const u32 tag = tally_tag(level, row, what);
	tally_table.insert(tag, handle);
	TallyRow *tally = tallies.at(handle);
	zero(tally);
	tally->what = what;
	tally->row = row;
	tally->level = static_cast<u8>(level);
	tally->left = tally_above(rows.at(row)->left, what);
	tally->right = tally_above(rows.at(row)->right, what);
	return handle;
}

// 0, and counted, when the table or the share of its teller is full.
inline u32 make_leaf_tally(u32 leaf, u64 what, u8 teller)
{
	if (UNLIKELY(leaf_tallies >= TALLY_COUNT_MAX || tallies_of_teller[teller] >= TALLY_COUNT_MAX / 2)) {
		count(leaf_tallies >= TALLY_COUNT_MAX ? records::REDUCER_COUNTER_TALLIES_REFUSED
						      : records::REDUCER_COUNTER_TALLIES_OVER_SHARE);
		return 0;
	}
	const u32 handle = create_tally(records::LEVEL_ID_ID, leaf, what);
	leaf_tallies++;
	tallies_of_teller[teller]++;
	TallyRow *tally = tallies.at(handle);
	tally->teller = teller;
	Row *row = rows.at(leaf);
	if (row->tallies == 0) {
		row->tallies = handle;
		return handle;
	}
	// Behind those that are looked at first.
	u32 before = row->tallies;
	for (u32 near = 1; near < NEAR_COUNT_MAX && tallies.at(before)->next != 0; near++)
		before = tallies.at(before)->next;
	tally->previous() = before;
	tally->next = tallies.at(before)->next;
	if (tally->next != 0) tallies.at(tally->next)->previous() = handle;
	tallies.at(before)->next = handle;
	return handle;
}

inline void list_tally(u32 handle, TallyRow *tally)
{
	if (tally->listed != 0) return;
	tally->listed = 1;
	tally_lists[tally->level].push(handle);
}

inline u32 search_leaf(u32 leaf, u64 what)
{
	u32 handle = rows.at(leaf)->tallies;
	for (u32 near = 0; handle != 0; near++) {
		if (near == NEAR_COUNT_MAX) return find_tally(records::LEVEL_ID_ID, leaf, what);
		const TallyRow *tally = tallies.at(handle);
		if (tally->what == what && tally->label == 0) return handle;
		handle = tally->next;
	}
	return 0;
}

// Of one connection after the other the same is told in the same order, in which the leaf has its first tallies.
inline u32 find_leaf_tally(u32 leaf, u64 what)
{
	if (LIKELY(recent_tally != 0) && tallies.at(recent_tally)->row == leaf) {
		const u32 next = tallies.at(recent_tally)->next;
		if (LIKELY(next != 0) && tallies.at(next)->what == what && tallies.at(next)->label == 0)
			return recent_tally = next;
	}
	return recent_tally = search_leaf(leaf, what);
}

inline void add_tally(u32 leaf, u64 what, u8 teller, u64 amount, u64 sum)
{
	u32 handle = find_leaf_tally(leaf, what);
	if (UNLIKELY(handle == 0)) handle = make_leaf_tally(leaf, what, teller);
	if (UNLIKELY(handle == 0)) return;
	TallyRow *tally = tallies.at(handle);
	count(records::REDUCER_COUNTER_TALLIES_ADDED);
	list_tally(handle, tally);
	tally->count += amount;
	tally->sum += sum;
	if ((SAMPLED_TALLY_KINDS >> (what >> 40) & 1) == 0) return;
	if (tally->collected == 0) {
		TallyRow *az_az = tallies.at(tallies.at(tally->left)->left);
		if (az_az->histogram == 0) az_az->histogram = take_histogram();
		tally->collected = az_az->histogram;
	}
	const u64 sample_ns = amount == 1 ? sum : sum / amount;
	const double seconds = static_cast<double>(greatest<u64>(sample_ns, 1)) / 1e9;
	if (LIKELY(tally->collected != 0)) add_samples(tally->collected, bucket_of(seconds), amount);
}

inline void add_tally_above(u32 handle, const TallyRow *tally)
{
	if (handle == 0) return;
	TallyRow *above = tallies.at(handle);
	list_tally(handle, above);
	above->count += tally->count;
	above->sum += tally->sum;
	if (tally->histogram != 0 && tally->level >= records::LEVEL_AZ_AZ && is_collected_for(above->level))
		merge_histogram(above->histogram, tally->histogram);
}

inline void roll_up_tallies()
{
	for (const List<u32> &list : tally_lists) {
		for (u32 index = 0; index < list.size; index++) {
			if (index + 8 < list.size) prefetch_to_write(tallies.at(list.items[index + 8]));
			const TallyRow *tally = tallies.at(list.items[index]);
			add_tally_above(tally->left, tally);
			add_tally_above(tally->right, tally);
		}
	}
}

inline void settle_tallies(u32 closed)
{
	for (List<u32> &list : tally_lists) {
		for (u32 index = 0; index < list.size; index++) {
			if (index + 8 < list.size) prefetch_to_write(tallies.at(list.items[index + 8]));
			TallyRow *tally = tallies.at(list.items[index]);
			tally->count = 0;
			tally->sum = 0;
			tally->listed = 0;
			tally->idle_since = closed;
			if (tally->histogram != 0) give_histogram(tally->histogram);
			tally->histogram = 0;
			tally->collected = 0;
		}
		list.size = 0;
	}
}

inline void free_tally(u32 handle)
{
	TallyRow *tally = tallies.at(handle);
	tally_table.remove(tally_tag(tally->level, tally->row, tally->what), handle);
	tally->row = 0;
	const u32 above[2] = {tally->left, tally->right};
	tallies.give(handle);
	for (u32 each : above)
		if (each != 0 && --tallies.at(each)->refs == 0) free_tally(each);
}

inline void free_leaf_tally(u32 handle, TallyRow *tally)
{
	leaf_tallies--;
	tallies_of_teller[tally->teller]--;
	if (tally->next != 0) tallies.at(tally->next)->previous() = tally->previous();
	if (tally->previous() != 0)
		tallies.at(tally->previous())->next = tally->next;
	else
		rows.at(tally->row)->tallies = tally->next;
	free_tally(handle);
}

// How the socket of an end ended, until its flow is booked (wasm-modules/assembly/match/tallies.ts). All of a window
// are sent at its close, so each window begins with the first row again.
struct Ending {
	u32 next;
	u32 end;
	u16 kind;
	u8 reason;
	u8 phase;
	u16 error;
	u8 role;
	u8 pad0;
	u32 handshake_us;
	u32 min_rtt_us;
	u64 syns_again;
	u64 duration_ns;

	bool is_empty() const
	{
		return (duration_ns | syns_again | handshake_us | phase | error | min_rtt_us) == 0;
	}
};
static_assert(sizeof(Ending) == 40, "as in match/tallies.ts");

inline Pool<Ending> endings;
inline u32 waiting_endings;

inline void init_endings()
{
	endings.create(1 << 21);
}

// Before END_CLOSED is set. An ending that is told twice is told by two agents of one host, which the mixes do not
// have.
inline void keep_ending(u32 end, End *hot, Ending said)
{
	if (UNLIKELY((hot->flags & END_CLOSED) != 0)) __builtin_trap();
	hot->flags |= END_CLOSING;
	if (said.is_empty()) return;
	if (UNLIKELY(waiting_endings >= endings.count_max)) {
		count(records::REDUCER_COUNTER_TALLIES_REFUSED);
		return;
	}
	const u32 row = ++waiting_endings;
	endings.ensure(row);
	FlowCold *cold = cold_flows.at(hot->flow);
	said.next = cold->tallies;
	said.end = end;
	*endings.at(row) = said;
	cold->tallies = row;
	touch_flow(hot->flow);
}

inline void emit_ending(u32 leaf, const Ending &ending, u32 viewpoint, u8 side)
{
	const u8 teller = static_cast<u8>(viewpoints.at(viewpoint)->teller);
	const auto emit = [=](u16 kind, u32 code, u64 amount, u64 sum) {
		add_tally(leaf, tally_identity(kind, side, code), teller, amount, sum);
	};
	if (ending.duration_ns != 0) emit(wire::TALLY_KIND_DURATION, ending.reason, 1, ending.duration_ns);
	if (ending.handshake_us != 0) {
		const bool is_client = ending.role == kernel::ROLE_CLIENT;
		emit(is_client ? wire::TALLY_KIND_HANDSHAKE_SERVER : wire::TALLY_KIND_HANDSHAKE_CLIENT, 0, 1,
		     ending.handshake_us * 1000ull);
	}
	// Of connects that failed.
	if (UNLIKELY((ending.error | ending.syns_again) != 0)) __builtin_trap();
	if (ending.min_rtt_us != 0) emit(wire::TALLY_KIND_RTT_MIN, 0, 1, ending.min_rtt_us * 1000ull);
	if (ending.phase == kernel::CONNECTION_PHASE_NONE) return;
	const bool is_sent = ending.reason == kernel::CLOSE_REASON_RESET_SENT;
	emit(is_sent ? wire::TALLY_KIND_RESET_SENT : wire::TALLY_KIND_RESET_RECEIVED, ending.phase, 1, 0);
}

// The leaf on which what ends counted on `edge` is counted, which is that of the flow whose news were emitted last, if
// any were.
inline u32 begin_tallies(u32 edge)
{
	if (LIKELY(edge == news_edge)) return news_leaf;
	announce_edge(edge);
	const u32 leaf = leaf_of_edge(edge, 0);
	Row *row = rows.at(leaf);
	list_row(leaf, row);
	move_row(row);
	return leaf;
}

// All that waits for a flow which is booked and on `edge`.
inline void send_endings(FlowCold *cold, u32 client, u32 edge)
{
	const u32 leaf = begin_tallies(edge);
	for (u32 at = cold->tallies; at != 0; at = endings.at(at)->next) {
		const Ending &ending = *endings.at(at);
		// A tally that an agent told.
		if (UNLIKELY(ending.kind != wire::TALLY_KIND_NONE)) __builtin_trap();
		emit_ending(leaf, ending, cold_ends.at(ending.end)->viewpoint,
			    ending.end == client ? records::TALLY_SIDE_CLIENT : records::TALLY_SIDE_SERVER);
	}
	cold->tallies = 0;
}

// How the socket of a Once ended.
inline void send_ending(u32 leaf, const WaitingOnce *once, u8 side)
{
	Ending said = {};
	said.reason = once->reason;
	said.phase = once->phase;
	said.min_rtt_us = once->min_rtt_us;
	said.duration_ns = once->duration_ns;
	if (once->role != kernel::ROLE_UNKNOWN) {
		said.role = once->role;
		said.handshake_us = once->handshake_us;
	}
	emit_ending(leaf, said, once->viewpoint, side);
}
