// The twin of an agent: its processes by handle, its socket rows by handle in chunks, what it told since its last
// WindowEnd (wasm-modules/assembly/ingest/{session,sockets,staging,ends}.ts).
#pragma once

#include "containers.hpp"

constexpr u32 SESSION_COUNT_MAX = 4096;
constexpr u32 SOCKET_COUNT_MAX = 1 << 20;
constexpr u32 CHUNK_SHIFT = 8;
constexpr u32 CHUNK_ROWS = 1 << CHUNK_SHIFT;

enum SocketState : u8 { SOCKET_FREE, SOCKET_OPEN, SOCKET_REFUSED };
enum SocketFlag : u8 { SOCKET_NEW = 1, SOCKET_IN_BATCH = 2, SOCKET_DIRTY = 4, SOCKET_EXISTING = 8, SOCKET_MOVED = 16 };

struct Socket {
	u64 bytes_sent;
	u64 bytes_received;
	u64 segments_sent;
	u64 segments_received;
	u64 retransmits;
	u32 srtt_us;
	u32 end;
	u32 next_dirty;
	u32 told_window;
	u8 worker;
	u8 state;
	u8 flags;
	u8 reports;
	u32 cookie_low;
};
static_assert(sizeof(Socket) == 64, "a socket row is one cache line");

// Not as a chunk of sockets: blocks of one size are given from one list, and the chunks of an agent would lie
// scattered.
constexpr u32 STAGED_BLOCK_BYTES = 1 << 15;

struct StagedBlock {
	StagedBlock *next;
	u32 used;
	u32 pad0;
};

struct Session {
	u64 session;
	u64 boot;
	u64 identity;
	// Node of each process handle; 0 = not announced.
	List<u32> processes;
	// Identity of each address space by its handle; 0 = not announced.
	List<u64> spaces;
	List<Socket *> chunks;
	u32 dirty_head;
	u32 told_window;
	u32 reached_window;
	u32 sockets_live;
	StagedBlock *staged_first;
	StagedBlock *staged_last;
	u64 staged_bytes;
	// Names by which its processes asked for addresses: the mixes have none.
	u32 named_count;
	u32 tally_count;
	bool is_over;
	bool is_repeat_allowed;
	records::session_state state;
};

inline Session *sessions;
inline u32 open_window;
inline u64 window_ns;

inline Socket *socket_row(const Session *session, u32 handle)
{
	const u32 chunk = handle >> CHUNK_SHIFT;
	if (UNLIKELY(chunk >= session->chunks.capacity) || session->chunks.items[chunk] == nullptr) return nullptr;
	return session->chunks.items[chunk] + (handle & (CHUNK_ROWS - 1));
}

// Of a handle whose row exists.
inline Socket *socket_at(const Session *session, u32 handle)
{
	return session->chunks.items[handle >> CHUNK_SHIFT] + (handle & (CHUNK_ROWS - 1));
}

// `handle`: below SOCKET_COUNT_MAX.
inline Socket *ensure_socket(Session *session, u32 handle)
{
	const u32 chunk = handle >> CHUNK_SHIFT;
	if (UNLIKELY(chunk >= session->chunks.capacity)) {
		u32 capacity = greatest(session->chunks.capacity, 16u);
		while (capacity <= chunk)
			capacity *= 2;
		session->chunks.reserve(capacity);
	}
	Socket *&rows = session->chunks.items[chunk];
	if (UNLIKELY(rows == nullptr)) {
		rows = static_cast<Socket *>(take_block(CHUNK_ROWS * sizeof(Socket)));
		__builtin_memset(rows, 0, CHUNK_ROWS * sizeof(Socket));
	}
	return rows + (handle & (CHUNK_ROWS - 1));
}

inline void mark_dirty(Session *session, u32 handle, Socket *socket)
{
	if ((socket->flags & SOCKET_DIRTY) != 0) return;
	socket->flags |= SOCKET_DIRTY;
	socket->next_dirty = session->dirty_head;
	session->dirty_head = handle;
}

inline void reset_socket(Session *session, u32 handle, Socket *socket)
{
	const u32 next = socket->next_dirty;
	const u8 dirty = socket->flags & SOCKET_DIRTY;
	zero(socket);
	socket->next_dirty = next;
	socket->flags = dirty;
	mark_dirty(session, handle, socket);
}

// Staged records wait for the WindowEnd in the form in which match reads them, in blocks of a chain.
constexpr u64 STAGED_BYTES_MAX = 256 << 20;
// Where the next records come is fetched this far before.
constexpr u32 STAGING_AHEAD_BYTES = 1280;

inline bool can_stage(const Session *session, u64 bytes)
{
	return session->staged_bytes + bytes <= STAGED_BYTES_MAX;
}

// `shard`: of its join key, as far as it has one.
template <typename T> inline T *stage_record(Session *session, u16 kind, u8 shard)
{
	constexpr u32 SIZE = (sizeof(records::record_header) + sizeof(T) + 7) & ~7u;
	StagedBlock *block = session->staged_last;
	if (UNLIKELY(block == nullptr || block->used + SIZE > STAGED_BLOCK_BYTES)) {
		auto *fresh = static_cast<StagedBlock *>(take_block(STAGED_BLOCK_BYTES));
		fresh->next = nullptr;
		fresh->used = sizeof(StagedBlock);
		if (block == nullptr)
			session->staged_first = fresh;
		else
			block->next = fresh;
		session->staged_last = block = fresh;
	}
	auto *header = reinterpret_cast<records::record_header *>(reinterpret_cast<u8 *>(block) + block->used);
	header->size = SIZE;
	header->kind = kind;
	header->pad0 = shard;
	block->used += SIZE;
	prefetch_lines(reinterpret_cast<const u8 *>(header) + STAGING_AHEAD_BYTES, SIZE);
	session->staged_bytes += SIZE;
	return reinterpret_cast<T *>(header + 1);
}

// Dense numbers of ends on the channel to match; a number is given again after its close was sent.
inline List<u32> free_ends;
inline u32 fresh_end = 1;

inline u32 take_end_number()
{
	return free_ends.size == 0 ? fresh_end++ : free_ends.items[--free_ends.size];
}
