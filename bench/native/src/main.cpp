// A reducer as a process: told by lines on standard input, answers each with a line of JSON.
//
//   names PATH          {}                  a sequence of: u32 agent, u32 process, then a NodeRecord; process
//   0xffffffff: 16 bytes of an address window PATH         the times of the stages, ns of this thread's CPU clock, and
//   sums of the output
//
// A window is a file: for each agent u32 agent, u32 bytes of frames but the last, u32 bytes of the last frame (its
// WindowEnd), u32 0, then all these.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "reducer.hpp"

struct Input {
	u8 *bytes = nullptr;
	u64 size = 0;
	u64 capacity = 0;

	void read(const char *path)
	{
		FILE *file = fopen(path, "rb");
		if (file == nullptr) fail(path);
		fseek(file, 0, SEEK_END);
		size = static_cast<u64>(ftell(file));
		rewind(file);
		if (size > capacity) {
			free(bytes);
			capacity = size + size / 4;
			bytes = static_cast<u8 *>(aligned_alloc(64, (capacity + 63) & ~63ull));
		}
		if (fread(bytes, 1, size, file) != size) fail(path);
		fclose(file);
	}

	[[noreturn]] static void fail(const char *path)
	{
		perror(path);
		exit(1);
	}
};

static u64 cpu_ns()
{
	timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

struct AgentFrames {
	u32 agent;
	u32 data_bytes;
	u32 end_bytes;
	u32 pad0;
};

// Of the open window. Its output stays until the next one.
static void run_window(const Input &input)
{
	u64 ingest = 0;
	u64 join = 0;
	const u64 start = cpu_ns();
	u64 now = start;
	for (u64 at = 0; at < input.size;) {
		const auto *head = reinterpret_cast<const AgentFrames *>(input.bytes + at);
		const u8 *frames = input.bytes + at + sizeof *head;
		Session *session = sessions + head->agent;
		read_frames(session, frames, head->data_bytes);
		const u64 shipped = cpu_ns();
		ingest += shipped - now;
		read_frames(session, frames + head->data_bytes, head->end_bytes);
		now = cpu_ns();
		join += now - shipped;
		at += sizeof *head + head->data_bytes + head->end_bytes;
	}
	const u64 closing = now;
	close_window();
	const u64 rolling = cpu_ns();
	close_aggregate();
	const u64 forgetting = cpu_ns();
	committed_window = open_window - 1;
	const u64 end = cpu_ns();
	printf("{\"ingest\":%" PRIu64 ",\"join\":%" PRIu64 ",\"book\":%" PRIu64 ",\"rollUp\":%" PRIu64
	       ",\"whole\":%" PRIu64,
	       ingest, join, rolling - closing + (end - forgetting), forgetting - rolling, end - start);
}

static u32 fold(u32 hash, const u8 *bytes, u64 size)
{
	for (u64 at = 0; at < size; at += 4) {
		u32 word;
		memcpy(&word, bytes + at, 4);
		hash = (hash ^ word) * 0x01000193;
	}
	return hash;
}

// Per level, and FNV-1a over the 32-bit words of the whole output.
static void print_sums()
{
	u64 sums[LEVEL_COUNT][6] = {};
	const auto *head = reinterpret_cast<const records::window_output *>(output_block);
	const u8 *at = output_block + sizeof *head + head->node_bytes + head->label_bytes;
	for (u32 index = 0; index < head->point_count; index++, at += sizeof(records::edge_point)) {
		const auto *point = reinterpret_cast<const records::edge_point *>(at);
		u64 *sum = sums[point->level];
		sum[0] += point->forward_bytes + point->reverse_bytes;
		sum[1] += point->forward_packets + point->reverse_packets;
		sum[2] += point->connections;
		sum[3] += point->active;
	}
	for (u32 index = 0; index < head->tally_count; index++, at += sizeof(records::tally_point)) {
		const auto *point = reinterpret_cast<const records::tally_point *>(at);
		sums[point->level][4] += point->count;
		sums[point->level][5] += point->sum;
	}
	printf(",\"levels\":[");
	for (u32 level = 0; level < LEVEL_COUNT; level++) {
		const u64 *sum = sums[level];
		printf("%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]",
		       level == 0 ? "" : ",", sum[0], sum[1], sum[2], sum[3], sum[4], sum[5]);
	}
	printf("],\"outputBytes\":%" PRIu32 ",\"outputHash\":%" PRIu32 ",\"framesRefused\":%" PRIu64 "}\n",
	       output_length, fold(0x811c9dc5, output_block, output_length),
	       counters[records::REDUCER_COUNTER_FRAMES_REFUSED]);
}

int main(int argument_count, char **arguments)
{
	if (argument_count != 3) {
		fprintf(stderr, "usage: %s FIRST_WINDOW WINDOW_NS\n", arguments[0]);
		return 2;
	}
	// Address space for the tables at their limits, which pages fill as far as they are used.
	void *range = mmap(nullptr, ARENA_BYTES_MAX, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (range == MAP_FAILED) Input::fail("mmap");
	madvise(range, ARENA_BYTES_MAX, MADV_HUGEPAGE);
	arena.create(static_cast<u8 *>(range), static_cast<u8 *>(range) + ARENA_BYTES_MAX);
	init_reducer(static_cast<u32>(strtoul(arguments[1], nullptr, 10)), strtoull(arguments[2], nullptr, 10));
	Input input;
	char line[4096];
	while (fgets(line, sizeof line, stdin) != nullptr) {
		line[strcspn(line, "\n")] = '\0';
		char *path = strchr(line, ' ');
		if (path == nullptr) return 2;
		*path++ = '\0';
		input.read(path);
		if (strcmp(line, "names") == 0) {
			read_names(input.bytes, input.size);
			printf("{}\n");
		} else {
			run_window(input);
			print_sums();
		}
		fflush(stdout);
	}
	return 0;
}
