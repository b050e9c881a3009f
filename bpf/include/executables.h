#pragma once

/* The executables of processes that own sockets, for when such a process has ended before the agent can ask /proc for
 * it. Kept as a process becomes an owner, so that starting one costs nothing and only those in scope are remembered:
 * what exec() said is not asked, because it names scripts and links where /proc/PID/exe names what really runs, and a
 * child of fork() says nothing. The last part of the path: a program of these kinds cannot ask for the whole. */

#include "core_types.h"
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

/* A process that exits has no memory any more, hence no executable: what was kept before stays. */
static __always_inline void keep_executable(const struct socket_owner *owner, struct task_struct *task)
{
	struct file *file = BPF_CORE_READ(task, mm, exe_file);
	if (!file) return;
	struct executable_key key = {.start_time_ns = owner->start_time_ns, .pid = owner->pid};
	struct executable *kept = bpf_map_lookup_elem(&executables, &key);
	if (kept && kept->file == (__u64)file) return;
	if (!kept) {
		bpf_map_update_elem(&executables, &key, &no_executable, BPF_NOEXIST);
		kept = bpf_map_lookup_elem(&executables, &key);
		if (!kept) return;
	}
	bpf_probe_read_kernel_str(kept->name, sizeof(kept->name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
	kept->file = (__u64)file;
}
