// The same reducer as a WebAssembly object, driven like reducer.wasm (clang-wasm.ts).
//
// It is instantiated as the compiler leaves it, because a linker for WebAssembly is seldom installed beside clang. An
// object that refers to nothing outside itself needs none: its addresses count from 0. It has no exports, only the
// table of functions whose address is taken, and that is one.

#include "reducer.hpp"

enum Call : u32 { INIT, NAMES, FRAMES, CLOSE_MATCH, CLOSE_AGGREGATE, COMMITTED, OUTPUT_BYTES, FRAMES_REFUSED };

extern "C" u32 reducer_call(u32 call, u32 a, u32 b, u32 c)
{
	switch (call) {
	case INIT: {
		// From `a` to `b` memory is free; a window has `c` seconds.
		arena.create(reinterpret_cast<u8 *>(a), reinterpret_cast<u8 *>(b));
		init_reducer(FIRST_WINDOW, c * 1'000'000'000ull);
		return 0;
	}
	case NAMES:
		read_names(reinterpret_cast<const u8 *>(a), b);
		return 0;
	case FRAMES:
		read_frames(sessions + a, reinterpret_cast<const u8 *>(b), c);
		return 0;
	case CLOSE_MATCH:
		close_window();
		return 0;
	case CLOSE_AGGREGATE:
		close_aggregate();
		return static_cast<u32>(reinterpret_cast<uintptr_t>(output_block));
	case COMMITTED:
		committed_window = open_window - 1;
		return 0;
	case OUTPUT_BYTES:
		return output_length;
	case FRAMES_REFUSED:
		return static_cast<u32>(counters[records::REDUCER_COUNTER_FRAMES_REFUSED]);
	default:
		__builtin_trap();
	}
}

__attribute__((used)) u32 (*const entry)(u32, u32, u32, u32) = reducer_call;
