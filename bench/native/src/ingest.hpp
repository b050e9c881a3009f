// Frames of one session, verified and applied to its twin: each is accepted or refused as a whole, by a check that
// reads everything which its apply will use
// (wasm-modules/assembly/ingest/{frames,totals,opens,closed-sockets,limits}.ts, docs/protocol.md section 9).
//
// Kinds that the mixes of this benchmark do not have are refused.
#pragma once

#include "claims.hpp"
#include "names.hpp"
#include "onces.hpp"
#include "sessions.hpp"

constexpr u64 TOTALS_RATE_MAX = 100'000'000'000;
constexpr u32 WINDOW_AHEAD_MAX = 64;
// A session with more refused frames is not listened to any more.
constexpr u64 REFUSED_FRAMES_MAX = 1000;
constexpr u64 TALLY_SAMPLE_NS_MAX = 1ull << 57;
constexpr u8 REPORT_COUNT_MAX = 16;

// A batch as it is written in place (lib/struct-batch.ts): two constant words, the distance to the vector, the number
// of items.
constexpr u32 BATCH_PREFIX_BYTES = 24;
constexpr u64 PREFIX_ROOT = 0x000800060000000c;
constexpr u64 PREFIX_TABLE = 0x0000000800000004;
constexpr u32 PREFIX_VECTOR = 4;

template <typename T> struct Batch {
	const T *items;
	u32 size;
};

template <typename T> inline bool read_batch(const u8 *payload, u32 length, Batch<T> &batch)
{
	if (UNLIKELY(length < BATCH_PREFIX_BYTES) || load64(payload) != PREFIX_ROOT ||
	    load64(payload + 8) != PREFIX_TABLE)
		return false;
	const u64 vector = load64(payload + 16);
	batch.size = static_cast<u32>(vector >> 32);
	batch.items = reinterpret_cast<const T *>(payload + BATCH_PREFIX_BYTES);
	return static_cast<u32>(vector) == PREFIX_VECTOR &&
	       batch.size * static_cast<u64>(sizeof(T)) <= length - BATCH_PREFIX_BYTES;
}

// What a total may rise by in one window, and for how many windows that fits 64 bits.
inline u64 allowance_per_window;
inline u64 allowance_windows_max;

inline void init_allowance()
{
	allowance_per_window = TOTALS_RATE_MAX / 1'000'000'000 * window_ns;
	allowance_windows_max = ~0ull / allowance_per_window;
}

inline u64 allowance_since(const Session *session, u32 told_window)
{
	const u32 now = greatest(open_window, session->reached_window + 1) + 1;
	const u64 windows = now > told_window ? now - told_window + 1 : 1;
	return windows > allowance_windows_max ? ~0ull : windows * allowance_per_window;
}

// Sockets of one batch mostly share the window since which they may have moved.
struct Allowance {
	const Session *session;
	u32 window = ~0u;
	u64 bytes = 0;

	u64 of(const Socket *socket)
	{
		if (UNLIKELY(socket->told_window != window)) {
			window = socket->told_window;
			bytes = allowance_since(session, window);
		}
		return bytes;
	}
};

inline u8 check_totals(const Socket *socket, const wire::totals *totals, u64 allowance)
{
	if (UNLIKELY(totals->bytes_sent < socket->bytes_sent || totals->bytes_received < socket->bytes_received ||
		     totals->segments_sent < socket->segments_sent ||
		     totals->segments_received < socket->segments_received ||
		     totals->retransmits < socket->retransmits))
		return records::REFUSAL_REASON_TOTALS_FELL;
	const bool is_too_fast = totals->bytes_sent - socket->bytes_sent > allowance ||
				 totals->bytes_received - socket->bytes_received > allowance ||
				 totals->segments_sent - socket->segments_sent > allowance ||
				 totals->segments_received - socket->segments_received > allowance ||
				 totals->retransmits - socket->retransmits > allowance;
	return is_too_fast ? records::REFUSAL_REASON_TOTALS_RATE : records::REFUSAL_REASON_NONE;
}

inline bool are_totals_within(const wire::totals *totals, u64 allowance)
{
	return totals->bytes_sent <= allowance && totals->bytes_received <= allowance &&
	       totals->segments_sent <= allowance && totals->segments_received <= allowance &&
	       totals->retransmits <= allowance;
}

// What the item this many behind needs is fetched meanwhile: its row, where rows of one line each are far apart.
constexpr u32 PREFETCH_ITEMS = 12;

template <typename T> inline void prefetch_row(const Session *session, const Batch<T> &batch, u32 index)
{
	if (index + PREFETCH_ITEMS >= batch.size) return;
	const Socket *row = socket_row(session, batch.items[index + PREFETCH_ITEMS].handle);
	if (row != nullptr) prefetch_to_write(row);
}

// Frames are read once, and each item of these is longer than a line.
template <typename T> inline void prefetch_items(const Batch<T> &batch, u32 index)
{
	const T *item = batch.items + index + PREFETCH_ITEMS;
	for (u64 line = 0; line < sizeof *item; line += 64)
		prefetch(reinterpret_cast<const u8 *>(item) + line);
}

// Takes the marks of the items before `end` off again.
template <typename T> inline void unclaim_rows(const Session *session, const Batch<T> &batch, u32 end)
{
	for (u32 index = 0; index < end; index++) {
		const u32 handle = batch.items[index].handle;
		if (handle < SOCKET_COUNT_MAX) socket_at(session, handle)->flags &= ~SOCKET_IN_BATCH;
	}
}

// Reason why a batch is refused whole. A row that a batch names is marked, since a batch names a socket once; who
// applies the batch takes the marks off.
template <auto CHECK, typename T> inline u8 check_items(const Session *session, const Batch<T> &batch)
{
	Allowance allowance{session};
	for (u32 index = 0; index < batch.size; index++) {
		prefetch_row(session, batch, index);
		const T *item = batch.items + index;
		u8 reason = records::REFUSAL_REASON_NONE;
		u32 claimed = index;
		if (LIKELY(item->handle < SOCKET_COUNT_MAX)) {
			Socket *socket = socket_row(session, item->handle);
			if (UNLIKELY(socket == nullptr || socket->state == SOCKET_FREE))
				reason = records::REFUSAL_REASON_UNKNOWN_HANDLE;
			else if (UNLIKELY((socket->flags & SOCKET_IN_BATCH) != 0))
				reason = records::REFUSAL_REASON_UPDATE_REPEATED;
			else {
				socket->flags |= SOCKET_IN_BATCH;
				claimed++;
				if (LIKELY(socket->state == SOCKET_OPEN)) reason = CHECK(socket, item, allowance);
			}
		}
		if (UNLIKELY(reason != records::REFUSAL_REASON_NONE)) {
			unclaim_rows(session, batch, claimed);
			return reason;
		}
	}
	return records::REFUSAL_REASON_NONE;
}

// The open row of `handle`, its mark taken off.
inline Socket *open_row(const Session *session, u32 handle)
{
	if (LIKELY(handle < SOCKET_COUNT_MAX)) {
		Socket *socket = socket_at(session, handle);
		socket->flags &= ~SOCKET_IN_BATCH;
		if (LIKELY(socket->state == SOCKET_OPEN)) return socket;
	}
	count(records::REDUCER_COUNTER_SOCKET_REPORTS_IGNORED);
	return nullptr;
}

inline u8 check_narrow(const Socket *socket, const wire::update_narrow *update, Allowance &allowance)
{
	if (UNLIKELY(socket->reports >= REPORT_COUNT_MAX)) return records::REFUSAL_REASON_UPDATE_REPEATED;
	const u64 most = greatest<u64>(greatest(update->bytes_sent, update->bytes_received), 0xffff);
	if (UNLIKELY(most > allowance.of(socket))) return records::REFUSAL_REASON_TOTALS_RATE;
	// All bits of all totals together are at least the greatest of them, and mostly small enough.
	const u64 room = ~0ull - most;
	const u64 bits = socket->bytes_sent | socket->bytes_received | socket->segments_sent |
			 socket->segments_received | socket->retransmits;
	if (LIKELY(bits <= room)) return records::REFUSAL_REASON_NONE;
	const bool is_wrapping = socket->bytes_sent > room || socket->bytes_received > room ||
				 socket->segments_sent > room || socket->segments_received > room ||
				 socket->retransmits > room;
	return is_wrapping ? records::REFUSAL_REASON_TOTALS_FELL : records::REFUSAL_REASON_NONE;
}

inline u8 take_narrows(Session *session, const Batch<wire::update_narrow> &batch)
{
	const u8 reason = check_items<check_narrow>(session, batch);
	if (UNLIKELY(reason != records::REFUSAL_REASON_NONE)) return reason;
	for (u32 index = 0; index < batch.size; index++) {
		prefetch_row(session, batch, index);
		const wire::update_narrow *update = batch.items + index;
		Socket *socket = open_row(session, update->handle);
		if (UNLIKELY(socket == nullptr)) continue;
		socket->bytes_sent += update->bytes_sent;
		socket->bytes_received += update->bytes_received;
		socket->segments_sent += update->segments_sent;
		socket->segments_received += update->segments_received;
		socket->retransmits += update->retransmits;
		socket->srtt_us = update->srtt_us;
		socket->reports++;
		socket->flags |= SOCKET_MOVED;
		mark_dirty(session, update->handle, socket);
	}
	return records::REFUSAL_REASON_NONE;
}

inline void copy_totals(records::end_totals *to, const wire::totals *from)
{
	static_assert(sizeof *to == sizeof *from, "the same totals on the wire and between stages");
	__builtin_memcpy(to, from, sizeof *to);
}

inline u8 check_close(const Socket *socket, const struct wire::close *close, Allowance &allowance)
{
	const bool is_known = close->reason != kernel::CLOSE_REASON_NONE &&
			      close->reason <= kernel::CLOSE_REASON_CONNECT_OTHER &&
			      close->phase <= kernel::CONNECTION_PHASE_CLOSE;
	if (UNLIKELY(!is_known)) return records::REFUSAL_REASON_ENUM_VALUE;
	return check_totals(socket, &close->totals, allowance.of(socket));
}

inline u8 take_closes(Session *session, const Batch<struct wire::close> &batch)
{
	const u64 staged = batch.size * static_cast<u64>(sizeof(records::record_header) + sizeof(records::match_close));
	if (UNLIKELY(!can_stage(session, staged))) return records::REFUSAL_REASON_MEMORY;
	const u8 reason = check_items<check_close>(session, batch);
	if (UNLIKELY(reason != records::REFUSAL_REASON_NONE)) return reason;
	for (u32 index = 0; index < batch.size; index++) {
		prefetch_row(session, batch, index);
		const auto *close = batch.items + index;
		Socket *socket = open_row(session, close->handle);
		if (UNLIKELY(socket == nullptr)) {
			if (close->handle < SOCKET_COUNT_MAX) socket_at(session, close->handle)->state = SOCKET_FREE;
			continue;
		}
		auto *record = stage_record<records::match_close>(session, records::RECORD_KIND_MATCH_CLOSE, 0);
		record->end = socket->end;
		record->from_window = 0;
		record->reason = close->reason;
		record->phase = close->phase;
		record->error = close->error;
		copy_totals(&record->totals, &close->totals);
		socket->state = SOCKET_FREE;
		session->sockets_live--;
		counters[records::REDUCER_COUNTER_SOCKETS_LIVE]--;
		count(records::REDUCER_COUNTER_SOCKETS_CLOSED);
	}
	return records::REFUSAL_REASON_NONE;
}

inline u32 process_node(const Session *session, u32 process)
{
	return process < session->processes.capacity ? session->processes.items[process] : 0;
}

inline u64 space_of(const Session *session, u32 space)
{
	return space < session->spaces.capacity ? session->spaces.items[space] : 0;
}

// What an Open says besides its handle. One without a key is joined by its tuple, which the mixes do not have.
inline u8 check_names(const Session *session, const struct wire::open *open)
{
	if (UNLIKELY(process_node(session, open->process) == 0)) return records::REFUSAL_REASON_UNKNOWN_PROCESS;
	if (UNLIKELY(space_of(session, open->address_space) == 0)) return records::REFUSAL_REASON_UNKNOWN_ADDRESS_SPACE;
	const bool is_known = open->role <= kernel::ROLE_SERVER && open->role_source <= kernel::ROLE_SOURCE_KERNEL &&
			      (open->protocol == 6 || open->protocol == 17) &&
			      (open->ip_version == 4 || open->ip_version == 6) && open->join_key != 0 &&
			      (open->flags & ~(wire::OPEN_FLAGS_EXISTING | wire::OPEN_FLAGS_COUNTED)) == 0;
	return LIKELY(is_known) ? records::REFUSAL_REASON_NONE : records::REFUSAL_REASON_ENUM_VALUE;
}

inline bool is_foreign(const Session *session, const struct wire::open *open)
{
	return is_foreign_address(load64(open->local_address), load64(open->local_address + 8),
				  space_of(session, open->address_space), session->boot);
}

inline u8 shard_of(u64 join_key)
{
	return static_cast<u8>(stable_hash_pair(join_key, 0));
}

// Units of 2^24 ns; 0 = unknown.
inline u32 short_time(u64 time_ns)
{
	const u32 units = static_cast<u32>(time_ns >> 24);
	return units == 0 && time_ns != 0 ? 1 : units;
}

// As match will see it; its node is retained for the way there.
inline void describe(const Session *session, const struct wire::open *open, u32 end, records::match_open *to)
{
	to->end = end;
	to->node = process_node(session, open->process);
	retain_node(to->node);
	to->join_key = open->join_key;
	to->cookie = open->cookie;
	to->boot = session->boot;
	to->session = session->session;
	to->address_space = space_of(session, open->address_space);
	__builtin_memcpy(to->local_address, open->local_address, sizeof to->local_address);
	__builtin_memcpy(to->remote_address, open->remote_address, sizeof to->remote_address);
	to->local_port = open->local_port;
	to->remote_port = open->remote_port;
	to->role = open->role;
	to->role_source = open->role_source;
	to->protocol = open->protocol;
	to->ip_version = open->ip_version;
	to->flags = static_cast<u16>(open->flags);
	to->shard = 0;
	to->pad0 = 0;
	to->start_time = short_time(open->start_time_ns);
	to->identity = session->identity;
	if (UNLIKELY(session->named_count != 0)) __builtin_trap();
	to->remote_node = 0;
	to->viewpoint = 0;
}

inline u8 check_open(Session *session, const struct wire::open *open)
{
	if (UNLIKELY(open->handle == 0)) return records::REFUSAL_REASON_UNKNOWN_HANDLE;
	const u8 reason = check_names(session, open);
	if (UNLIKELY(reason != records::REFUSAL_REASON_NONE || open->handle >= SOCKET_COUNT_MAX)) return reason;
	const Socket *socket = ensure_socket(session, open->handle);
	const bool is_taken = (socket->flags & SOCKET_IN_BATCH) != 0 ||
			      (socket->state == SOCKET_OPEN && socket->cookie_low != static_cast<u32>(open->cookie));
	return UNLIKELY(is_taken) ? records::REFUSAL_REASON_HANDLE_TAKEN : records::REFUSAL_REASON_NONE;
}

inline void refuse_socket(u32 reason)
{
	count(records::REDUCER_COUNTER_SOCKETS_REFUSED);
	count_refusal(reason);
}

inline void apply_open(Session *session, const struct wire::open *open)
{
	if (UNLIKELY(open->handle >= SOCKET_COUNT_MAX)) {
		refuse_socket(records::REFUSAL_REASON_SOCKET_QUOTA);
		return;
	}
	Socket *socket = socket_at(session, open->handle);
	if (LIKELY(socket->state != SOCKET_OPEN)) {
		reset_socket(session, open->handle, socket);
		socket->cookie_low = static_cast<u32>(open->cookie);
		socket->told_window = session->told_window;
		if (UNLIKELY(is_foreign(session, open))) {
			socket->state = SOCKET_REFUSED;
			refuse_socket(records::REFUSAL_REASON_FOREIGN_ADDRESS);
			return;
		}
		socket->state = SOCKET_OPEN;
		socket->flags |=
			(open->flags & wire::OPEN_FLAGS_EXISTING) != 0 ? SOCKET_NEW | SOCKET_EXISTING : SOCKET_NEW;
		session->sockets_live++;
		count(records::REDUCER_COUNTER_SOCKETS_LIVE);
		count(records::REDUCER_COUNTER_SOCKETS_OPENED);
		socket->end = take_end_number();
	}
	describe(session, open, socket->end,
		 stage_record<records::match_open>(session, records::RECORD_KIND_MATCH_OPEN, shard_of(open->join_key)));
}

inline u8 take_opens(Session *session, const Batch<struct wire::open> &batch)
{
	const u64 staged = batch.size * static_cast<u64>(sizeof(records::record_header) + sizeof(records::match_open));
	if (UNLIKELY(!can_stage(session, staged))) return records::REFUSAL_REASON_MEMORY;
	u8 reason = records::REFUSAL_REASON_NONE;
	u32 checked = 0;
	for (; checked < batch.size; checked++) {
		const auto *open = batch.items + checked;
		reason = check_open(session, open);
		if (UNLIKELY(reason != records::REFUSAL_REASON_NONE)) break;
		if (open->handle < SOCKET_COUNT_MAX) socket_at(session, open->handle)->flags |= SOCKET_IN_BATCH;
	}
	unclaim_rows(session, batch, checked);
	if (UNLIKELY(reason != records::REFUSAL_REASON_NONE)) return reason;
	for (u32 index = 0; index < batch.size; index++)
		apply_open(session, batch.items + index);
	return records::REFUSAL_REASON_NONE;
}

inline u8 check_once(const Session *session, const wire::once *once, u64 allowance)
{
	if (UNLIKELY(once->open.handle != 0)) return records::REFUSAL_REASON_UNKNOWN_HANDLE;
	const u8 reason = check_names(session, &once->open);
	if (UNLIKELY(reason != records::REFUSAL_REASON_NONE)) return reason;
	// A connect that failed has no other end: the mixes have none.
	const bool is_known = once->reason != kernel::CLOSE_REASON_NONE &&
			      once->reason < kernel::CLOSE_REASON_CONNECT_REFUSED &&
			      once->phase <= kernel::CONNECTION_PHASE_CLOSE;
	if (UNLIKELY(!is_known)) return records::REFUSAL_REASON_ENUM_VALUE;
	return LIKELY(are_totals_within(&once->totals, allowance)) ? records::REFUSAL_REASON_NONE
								   : records::REFUSAL_REASON_TOTALS_RATE;
}

inline u64 duration_of(const wire::once *once)
{
	const u64 start = once->open.start_time_ns;
	if ((once->open.flags & wire::OPEN_FLAGS_EXISTING) != 0 || start == 0 || once->end_time_ns < start) return 0;
	return least(greatest<u64>(once->end_time_ns - start, 1), TALLY_SAMPLE_NS_MAX);
}

inline bool are_narrow(const wire::totals *totals)
{
	const u64 bits = totals->bytes_sent | totals->bytes_received | totals->segments_sent |
			 totals->segments_received | totals->retransmits;
	return bits >> 32 == 0;
}

// In the form in which it waits for the close.
inline void stage_once(Session *session, const wire::once *once)
{
	const struct wire::open *open = &once->open;
	// It would be claimed when it is shipped.
	if (UNLIKELY(!are_narrow(&once->totals))) __builtin_trap();
	auto *to = stage_record<WaitingOnce>(session, records::RECORD_KIND_WAITING_ONCE, shard_of(open->join_key));
	to->join_key = open->join_key;
	to->cookie = open->cookie;
	to->remote.set(load64(open->remote_address), load64(open->remote_address + 8));
	to->duration_ns = duration_of(once);
	to->tag = 0;
	to->other = 0;
	to->viewpoint = viewpoint_of({session->boot, session->session, session->identity,
				      space_of(session, open->address_space), load64(open->local_address),
				      load64(open->local_address + 8)});
	to->node = process_node(session, open->process);
	retain_node(to->node);
	if (UNLIKELY(session->named_count != 0)) __builtin_trap();
	to->remote_node = 0;
	to->from_window = 0;
	to->start_time = short_time(open->start_time_ns);
	to->handshake_us = once->handshake_us;
	to->bytes_sent = static_cast<u32>(once->totals.bytes_sent);
	to->bytes_received = static_cast<u32>(once->totals.bytes_received);
	to->segments_sent = static_cast<u32>(once->totals.segments_sent);
	to->segments_received = static_cast<u32>(once->totals.segments_received);
	to->retransmits = static_cast<u32>(once->totals.retransmits);
	to->srtt_us = once->totals.srtt_us;
	to->min_rtt_us = once->totals.min_rtt_us;
	to->local_port = open->local_port;
	to->remote_port = open->remote_port;
	to->error = once->error;
	to->flags = static_cast<u8>(open->flags);
	to->role = open->role;
	to->role_source = open->role_source;
	to->protocol = open->protocol;
	to->reason = once->reason;
	to->phase = once->phase;
}

inline u8 take_onces(Session *session, const Batch<wire::once> &batch)
{
	const u64 staged = batch.size * static_cast<u64>(sizeof(records::record_header) + sizeof(records::match_once));
	if (UNLIKELY(!can_stage(session, staged))) return records::REFUSAL_REASON_MEMORY;
	const u64 allowance = allowance_since(session, session->told_window);
	for (u32 index = 0; index < batch.size; index++) {
		prefetch_items(batch, index);
		const u8 reason = check_once(session, batch.items + index, allowance);
		if (UNLIKELY(reason != records::REFUSAL_REASON_NONE)) return reason;
	}
	for (u32 index = 0; index < batch.size; index++) {
		const wire::once *once = batch.items + index;
		if (UNLIKELY(is_foreign(session, &once->open))) {
			refuse_socket(records::REFUSAL_REASON_FOREIGN_ADDRESS);
			continue;
		}
		stage_once(session, once);
		count(records::REDUCER_COUNTER_SOCKETS_OPENED);
		count(records::REDUCER_COUNTER_SOCKETS_CLOSED);
	}
	return records::REFUSAL_REASON_NONE;
}

// match.hpp: all that was told up to `window` is.
inline void ship_window(Session *session, u32 window, u32 from_window);

// What an agent lost or left out is counted by how far it rose.
inline void note_rise(u32 counter, u64 &before, u64 told)
{
	if (told > before) counters[counter] += told - before;
	before = told;
}

inline void note_window_end(Session *session, const wire::window_end *told)
{
	records::session_state &state = session->state;
	note_rise(records::REDUCER_COUNTER_AGENT_EVENTS_LOST, state.events_lost, told->events_lost);
	note_rise(records::REDUCER_COUNTER_AGENT_SOCKETS_FOLDED, state.sockets_folded, told->sockets_folded);
	note_rise(records::REDUCER_COUNTER_AGENT_SOCKETS_REFUSED, state.sockets_refused, told->sockets_refused);
	note_rise(records::REDUCER_COUNTER_AGENT_WINDOWS_COALESCED, state.windows_coalesced, told->windows_coalesced);
	note_rise(records::REDUCER_COUNTER_AGENT_JOURNAL_SKIPPED, state.journal_skipped, told->journal_skipped);
	note_rise(records::REDUCER_COUNTER_AGENT_PROCESSES_UNNAMED, state.processes_unnamed, told->processes_unnamed);
	u64 blind_ms = state.blind_ms;
	note_rise(records::REDUCER_COUNTER_AGENT_BLIND_MS, blind_ms, told->blind_ms);
	state.blind_ms = told->blind_ms;
	state.agent_time_ns = told->agent_time_ns;
	state.taken_window = greatest(state.taken_window, told->window);
	session->is_repeat_allowed = false;
}

inline u8 take_window_end(Session *session, const Batch<wire::window_end> &batch)
{
	if (batch.size != 1) return records::REFUSAL_REASON_STRUCTURE;
	const u32 window = batch.items->window;
	const bool is_back = UNLIKELY(session->is_repeat_allowed) ? window < session->reached_window
								  : window <= session->reached_window;
	if (is_back || batch.items->from_window > window || window == ~0u) return records::REFUSAL_REASON_WINDOW_ORDER;
	if (window > open_window && window - open_window > WINDOW_AHEAD_MAX)
		return records::REFUSAL_REASON_WINDOW_AHEAD;
	note_window_end(session, batch.items);
	ship_window(session, window, batch.items->from_window);
	return records::REFUSAL_REASON_NONE;
}

template <typename T, u8 (*TAKE)(Session *, const Batch<T> &)>
inline u8 take_batch(Session *session, const u8 *payload, u32 length)
{
	Batch<T> batch;
	if (UNLIKELY(!read_batch(payload, length, batch))) return records::REFUSAL_REASON_STRUCTURE;
	return TAKE(session, batch);
}

inline u8 take_frame(Session *session, u16 kind, const u8 *payload, u32 length)
{
	switch (kind) {
	case wire::FRAME_KIND_UPDATE_NARROW:
		return take_batch<wire::update_narrow, take_narrows>(session, payload, length);
	case wire::FRAME_KIND_OPEN:
		return take_batch<struct wire::open, take_opens>(session, payload, length);
	case wire::FRAME_KIND_ONCE:
		return take_batch<wire::once, take_onces>(session, payload, length);
	case wire::FRAME_KIND_CLOSE:
		return take_batch<struct wire::close, take_closes>(session, payload, length);
	case wire::FRAME_KIND_WINDOW_END:
		return take_batch<wire::window_end, take_window_end>(session, payload, length);
	default:
		return records::REFUSAL_REASON_KIND_DIRECTION;
	}
}

// Whole frames of a session, header and payload, at an 8-aligned address.
inline void read_frames(Session *session, const u8 *at, u64 bytes)
{
	while (bytes > 0 && LIKELY(!session->is_over)) {
		const auto *header = reinterpret_cast<const wire::frame_header *>(at);
		// The end of a window waits while the last one that was told is not closed.
		const bool is_ahead = session->reached_window >= open_window;
		if (UNLIKELY(is_ahead && header->kind == wire::FRAME_KIND_WINDOW_END)) __builtin_trap();
		count(records::REDUCER_COUNTER_FRAMES_GIVEN);
		u8 reason = records::REFUSAL_REASON_FRAME_BOUNDS;
		u64 consumed = bytes;
		if (LIKELY(bytes >= sizeof *header && header->length <= bytes - sizeof *header)) {
			consumed = sizeof *header + header->length;
			reason = take_frame(session, header->kind, at + sizeof *header, header->length);
			session->state.last_seq = header->seq;
		}
		if (LIKELY(reason == records::REFUSAL_REASON_NONE)) {
			session->state.frames_accepted++;
			count(records::REDUCER_COUNTER_FRAMES_ACCEPTED);
		} else {
			session->state.last_refusal = reason;
			session->is_over = ++session->state.frames_refused > REFUSED_FRAMES_MAX;
			count(records::REDUCER_COUNTER_FRAMES_REFUSED);
			count_refusal(reason);
		}
		at += consumed;
		bytes -= consumed;
	}
}
