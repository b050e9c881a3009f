#pragma once

/* Only the kernel fields that the programs read. `preserve_access_index` lets libbpf move every access to where the
 * running kernel keeps the field, so one object serves all kernels with BTF. Field names are the kernel's. */

#include <linux/bpf.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define DNS_PORT 53
#define SOCK_DGRAM 2
#define PF_KTHREAD 0x00200000
#define RCV_SHUTDOWN 1
#define SHUTDOWN_MASK 3
/* include/uapi/asm-generic/errno.h; the values of x86 and arm64. */
#define EACCES 13
#define EEXIST 17
#define EPIPE 32
#define ENONET 64
#define ENETUNREACH 101
#define ECONNABORTED 103
#define ECONNRESET 104
#define ETIMEDOUT 110
#define ECONNREFUSED 111
#define EHOSTDOWN 112
#define EHOSTUNREACH 113

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
/* The structs below are views of larger ones: their padding means nothing. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded"

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

typedef struct {
	__s64 counter;
} atomic64_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags;
	atomic64_t skc_cookie;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
	int level;
	/* From the root on, itself included. */
	struct cgroup *ancestors[];
};

/* Before Linux 6.1. */
struct cgroup___of_ids {
	int level;
	__u64 ancestor_ids[];
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock;

/* include/uapi/linux/net.h: connect() has returned or waits, the handshake is under way. */
enum socket_phase {
	SS_CONNECTING = 2,
};

struct socket {
	enum socket_phase state;
	struct sock *sk;
};

typedef struct {
	unsigned int val;
} kuid_t;

struct net_device {
	possible_net_t nd_net;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	char cb[48];
	__be16 protocol;
	/* Offset from `head`. */
	__u16 network_header;
	unsigned char *head;
};

typedef struct {
	int counter;
} atomic_t;

struct sk_buff_head {
	struct sk_buff *next;
	__u32 qlen;
};

struct sock_extended_err {
	__u32 ee_errno;
};

/* What the control block of a packet in the error queue holds. */
struct sock_exterr_skb {
	struct sock_extended_err ee;
};

typedef struct qspinlock {
	atomic_t val;
} arch_spinlock_t;

typedef struct raw_spinlock {
	arch_spinlock_t raw_lock;
} raw_spinlock_t;

typedef struct spinlock {
	union {
		struct raw_spinlock rlock;
	};
} spinlock_t;

typedef struct {
	spinlock_t slock;
	int owned;
} socket_lock_t;

struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	struct sk_buff_head sk_error_queue;
	int sk_err;
	int sk_err_soft;
	struct socket *sk_socket;
	kuid_t sk_uid;
	__u16 sk_protocol;
	__u8 sk_shutdown;
	__u32 sk_max_ack_backlog;
	atomic_t sk_drops;
	struct sock_cgroup_data sk_cgrp_data;
};

struct ipv6_pinfo {
	int mcast_oif;
};

struct inet_sock {
	struct sock sk;
	struct ipv6_pinfo *pinet6;
	__be16 inet_sport;
	int mc_index;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u8 icsk_ca_state : 5;
	__u8 icsk_pending;
	__u8 icsk_retransmits;
};

struct minmax_sample {
	__u32 t;
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	struct minmax rtt_min;
	__u32 segs_out;
	__u32 segs_in;
	__u32 data_segs_in;
	__u32 write_seq;
	__u32 rcv_nxt;
	__u32 snd_una;
	__u32 srtt_us;
	__u32 mdev_us;
	__u32 rcv_wnd;
	__u32 rcv_wup;
	__u32 rcv_ooopack;
	__u32 total_retrans;
	__u64 bytes_acked;
	__u64 bytes_received;
	_Bool is_mptcp;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct cred {
	kuid_t uid;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct file_operations;

struct file {
	const struct file_operations *f_op;
	void *private_data;
	struct path f_path;
};

struct mm_struct {
	struct file *exe_file;
};

struct task_struct {
	unsigned int flags;
	int tgid;
	struct task_struct *group_leader;
	__u64 start_boottime;
	const struct cred *cred;
	char comm[16];
	struct css_set *cgroups;
	struct mm_struct *mm;
};

struct seq_file;
struct bpf_map;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

/* Since Linux 5.15, when a walk of TCP began to lock each socket that it comes to. */
struct bpf_tcp_iter_state {
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

/* include/net/dropreason-core.h; the kernel's numbers are taken at load time. */
enum skb_drop_reason {
	SKB_CONSUMED = 1,
	SKB_DROP_REASON_NOT_SPECIFIED = 2,
	SKB_DROP_REASON_QUEUE_PURGE = 104,
};

/* include/net/sock.h; the kernel's numbers are taken at load time. */
enum sock_flags {
	SOCK_DEAD,
	SOCK_DONE,
};

/* include/uapi/linux/tcp.h */
enum tcp_ca_state {
	TCP_CA_Recovery = 3,
	TCP_CA_Loss = 4,
};

#pragma clang diagnostic pop
#pragma clang attribute pop

/* include/net/inet_connection_sock.h: icsk_pending while a tail-loss probe is due, or is being sent. */
#define ICSK_TIME_LOSS_PROBE 5

/* include/net/tcp_states.h; BPF_TCP_* of the user API are asserted equal by the kernel, so they never move. */
#define TCP_ESTABLISHED BPF_TCP_ESTABLISHED
#define TCP_SYN_SENT BPF_TCP_SYN_SENT
#define TCP_SYN_RECV BPF_TCP_SYN_RECV
#define TCP_FIN_WAIT1 BPF_TCP_FIN_WAIT1
#define TCP_FIN_WAIT2 BPF_TCP_FIN_WAIT2
#define TCP_TIME_WAIT BPF_TCP_TIME_WAIT
#define TCP_CLOSE BPF_TCP_CLOSE
#define TCP_CLOSE_WAIT BPF_TCP_CLOSE_WAIT
#define TCP_LAST_ACK BPF_TCP_LAST_ACK
#define TCP_LISTEN BPF_TCP_LISTEN
#define TCP_CLOSING BPF_TCP_CLOSING
#define TCP_NEW_SYN_RECV BPF_TCP_NEW_SYN_RECV
