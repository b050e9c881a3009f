#pragma once

/* The processes that own sockets. Their executables, for when such a process has ended before the agent can ask /proc
 * for it, and when the agent was told of them last. Kept as a process becomes an owner, so that starting one costs
 * nothing and only those in scope are remembered: what exec() said is not asked, because it names scripts and links
 * where /proc/PID/exe names what really runs, and a child of fork() says nothing. The last part of the path: a program
 * of these kinds cannot ask for the whole. */

#include "core_types.h"
#include "config.h"
#include "socket_state.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* The one used least recently gives way. */
#define EXECUTABLES_MAX 8192
/* NAME_MAX of include/uapi/linux/limits.h and a NUL: no name is cut. */
#define EXECUTABLE_BYTES_MAX 256

struct executable_key {
	__u64 start_time_ns;
	__u32 pid;
	__u32 pad0;
};

struct executable {
	/* Address of the kernel's file, to see that the process runs another one by now. */
	__u64 file;
	/* When an event named the process as news, or 0. */
	__u64 told_ns;
	char name[EXECUTABLE_BYTES_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, EXECUTABLES_MAX);
	__type(key, struct executable_key);
	__type(value, struct executable);
} executables SEC(".maps");

/* Too large for the stack, where the key has to be. */
static const struct executable no_executable = {};

static __always_inline struct executable *find_executable(const struct socket_owner *owner)
{
	struct executable_key key = {.start_time_ns = owner->start_time_ns, .pid = owner->pid};
	return bpf_map_lookup_elem(&executables, &key);
}

/* A process that exits has no memory any more, hence no executable: what was kept before stays. Returns 1 when the
 * reader knows the process as it runs now. */
static __always_inline int keep_executable(const struct socket_owner *owner, struct task_struct *task)
{
	struct file *file = BPF_CORE_READ(task, mm, exe_file);
	if (!file) return 0;
	struct executable *kept = find_executable(owner);
	if (kept && kept->file == (__u64)file)
		return process_known_ns != 0 && bpf_ktime_get_ns() - kept->told_ns < process_known_ns;
	if (!kept) {
		struct executable_key key = {.start_time_ns = owner->start_time_ns, .pid = owner->pid};
		bpf_map_update_elem(&executables, &key, &no_executable, BPF_NOEXIST);
		kept = bpf_map_lookup_elem(&executables, &key);
		if (!kept) return 0;
	}
	bpf_probe_read_kernel_str(kept->name, sizeof(kept->name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
	kept->file = (__u64)file;
	kept->told_ns = 0;
	return 0;
}

static __always_inline void note_told(const struct socket_owner *owner)
{
	struct executable *kept = find_executable(owner);
	if (kept) kept->told_ns = bpf_ktime_get_ns();
}
