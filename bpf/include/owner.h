#pragma once

/* The process that owns a socket. Only to be asked in process context: in a softirq the current task is a bystander. */

#include "executables.h"
#include "socket_state.h"

/* Returns 1 when the reader knows the process. */
static __always_inline int read_owner(struct socket_owner *owner, struct task_struct *task)
{
	struct task_struct *leader = READ(task, group_leader);
	owner->pid = READ(task, tgid);
	/* CLOCK_BOOTTIME, as in field 22 of /proc/PID/stat, which shows it in clock ticks. */
	owner->start_time_ns = READ(leader, start_boottime);
	owner->uid = READ(task, cred, uid.val);
	owner->cgroup_id = READ(task, cgroups, dfl_cgrp, kn, id);
	bpf_probe_read_kernel(owner->comm, sizeof(owner->comm), leader->comm);
	return keep_executable(owner, task);
}

static __always_inline int is_provisional(const struct socket_state *state)
{
	return state->owner.pid == 0 || (state->flags & SOCKET_FLAG_OWNER_PROVISIONAL);
}

/* Takes the task as the owner. Returns 1 when that is news. */
static __always_inline int take_owner(struct socket_state *state, struct task_struct *task)
{
	if (READ(task, flags) & PF_KTHREAD) return 0;
	if (state->owner.pid == (__u32)READ(task, tgid) && !(state->flags & SOCKET_FLAG_OWNER_PROVISIONAL)) return 0;
	if (!is_provisional(state)) {
		if (state->owner_changes >= OWNER_CHANGES_MAX) return 0;
		state->owner_changes++;
	}
	state->is_owner_known = read_owner(&state->owner, task);
	state->flags &= ~SOCKET_FLAG_OWNER_PROVISIONAL;
	return 1;
}
