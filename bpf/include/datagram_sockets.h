#pragma once

/* The sockets behind the flows of datagrams: who owns them, and that they are gone. Found by cookie, because the flows
 * are walked without their sockets. */

#include "core_types.h"
#include "config.h"
#include "gen/kernel_events.h"
#include "owner.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define DATAGRAM_SOCKETS_MAX 131072

struct datagram_socket {
	struct socket_owner owner;
	__u32 flows;
	__u8 is_released;
	/* The owner made the socket and may have passed it on. */
	__u8 is_provisional;
	/* It was seen to be made. */
	__u8 is_new;
	__u8 pad0;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DATAGRAM_SOCKETS_MAX);
	__type(key, __u64);
	__type(value, struct datagram_socket);
} datagram_sockets SEC(".maps");

/* The programs of control groups know a socket as a pointer that must not be reckoned with. A copy of it is a number.
 */
static __always_inline const struct sock *kernel_sock(void *sk)
{
	void *pointer = sk;
	const struct sock *kernel_sk = 0;
	bpf_probe_read_kernel(&kernel_sk, sizeof(kernel_sk), &pointer);
	return kernel_sk;
}

static __always_inline __u32 read_netns(void *sk)
{
	return BPF_CORE_READ(kernel_sock(sk), __sk_common.skc_net.net, ns.inum);
}

static __always_inline int is_new_socket_in_scope(struct bpf_sock *sk)
{
	if (scope_netns != 0 && read_netns(sk) != scope_netns) return 0;
	return scope_cgroup == 0 || is_in_cgroup(BPF_CORE_READ(kernel_sock(sk), sk_cgrp_data.cgroup));
}

/* Only in process context. The programs of control groups may not follow the task's pointers themselves. */
static __always_inline int read_current_owner(struct socket_owner *owner)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD) return 0;
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	owner->pid = BPF_CORE_READ(task, tgid);
	owner->start_time_ns = BPF_CORE_READ(leader, start_boottime);
	owner->uid = BPF_CORE_READ(task, cred, uid.val);
	owner->cgroup_id = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	BPF_CORE_READ_INTO(&owner->comm, leader, comm);
	keep_executable(owner, task);
	return 1;
}

static __always_inline int is_datagram_socket_new(__u64 cookie)
{
	struct datagram_socket *socket = bpf_map_lookup_elem(&datagram_sockets, &cookie);
	return socket && socket->is_new;
}

/* A flow begins. Who sends its first datagram owns the socket; who receives it is not known here. */
static __always_inline void hold_datagram_socket(__u64 cookie, int is_sent)
{
	struct datagram_socket *socket = bpf_map_lookup_elem(&datagram_sockets, &cookie);
	if (!socket) {
		struct datagram_socket blank = {.is_provisional = 1};
		bpf_map_update_elem(&datagram_sockets, &cookie, &blank, BPF_NOEXIST);
		socket = bpf_map_lookup_elem(&datagram_sockets, &cookie);
	}
	if (!socket) return;
	__sync_fetch_and_add(&socket->flows, 1);
	if (is_sent && socket->is_provisional && read_current_owner(&socket->owner)) socket->is_provisional = 0;
}

/* A flow is over. What was made by a datagram that came for a closing socket has no owner, and goes with it. */
static __always_inline void leave_datagram_socket(__u64 cookie)
{
	struct datagram_socket *socket = bpf_map_lookup_elem(&datagram_sockets, &cookie);
	if (!socket) return;
	__sync_fetch_and_add(&socket->flows, -1);
	if (*(const volatile __u32 *)&socket->flows != 0) return;
	if (socket->is_released || socket->owner.pid == 0) bpf_map_delete_elem(&datagram_sockets, &cookie);
}

static __always_inline int is_udp_socket(const struct sock *sk)
{
	if (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6) return 0;
	return sk->sk_protocol == IPPROTO_UDP;
}

/* A process receives: it owns the socket, if nobody has used it before. */
static __always_inline int note_datagram_use(struct sock *sk)
{
	if (!follow_datagrams) return 0;
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct datagram_socket *socket = bpf_map_lookup_elem(&datagram_sockets, &cookie);
	struct task_struct *task = bpf_get_current_task_btf();
	if (!socket || !socket->is_provisional || (task->flags & PF_KTHREAD)) return 0;
	read_owner(&socket->owner, task);
	socket->is_provisional = 0;
	return 0;
}

static __always_inline void fill_datagram_owner(struct socket_event *event, const struct datagram_socket *socket)
{
	event->owner_start_time_ns = socket->owner.start_time_ns;
	event->cgroup_id = socket->owner.cgroup_id;
	event->owner_pid = socket->owner.pid;
	event->owner_uid = socket->owner.uid;
	__builtin_memcpy(event->owner_comm, socket->owner.comm, sizeof(event->owner_comm));
	if (socket->is_provisional) event->flags |= SOCKET_FLAG_OWNER_PROVISIONAL;
}

static __always_inline int is_datagram_socket(const struct bpf_sock *sk)
{
	return sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP;
}

SEC("?cgroup/sock_create")
int datagram_socket_created(struct bpf_sock *sk)
{
	if (!is_datagram_socket(sk) || !is_new_socket_in_scope(sk)) return 1;
	struct datagram_socket socket = {.is_provisional = 1, .is_new = 1};
	__u64 cookie = bpf_get_socket_cookie(sk);
	if (read_current_owner(&socket.owner)) bpf_map_update_elem(&datagram_sockets, &cookie, &socket, BPF_NOEXIST);
	return 1;
}

/* The flows of the socket end with the next walk. */
SEC("?cgroup/sock_release")
int datagram_socket_released(struct bpf_sock *sk)
{
	if (!is_datagram_socket(sk)) return 1;
	__u64 cookie = bpf_get_socket_cookie(sk);
	struct datagram_socket *socket = bpf_map_lookup_elem(&datagram_sockets, &cookie);
	if (!socket) return 1;
	socket->is_released = 1;
	if (socket->flows == 0) bpf_map_delete_elem(&datagram_sockets, &cookie);
	return 1;
}

/* A socket that is older than the agent: whoever holds its descriptor first. */
SEC("?iter/task_file")
int own_datagrams(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *held = file ? bpf_sock_from_file(file) : 0;
	struct sock *sk = held ? held->sk : 0;
	if (!task || !sk || !is_udp_socket(sk) || !in_scope(sk)) return 0;
	struct datagram_socket socket = {.is_provisional = 1};
	__u64 cookie = bpf_get_socket_cookie(sk);
	read_owner(&socket.owner, task);
	bpf_map_update_elem(&datagram_sockets, &cookie, &socket, BPF_NOEXIST);
	return 0;
}
