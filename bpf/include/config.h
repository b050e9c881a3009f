#pragma once

/* Every knob of the programs. The loader writes them before the load, so the verifier sees constants and drops dead
 * code. */

/* Inode of the only network namespace to look at; 0 = all. */
const volatile __u32 scope_netns = 0;

/* Id of the only v2 control group to look at, with all below it, and how far it is below the root; 0 = all. */
const volatile __u64 scope_cgroup = 0;
const volatile __u32 scope_cgroup_level = 0;

/* Key of the join-key hash: the same for every agent of a fleet, or ends do not meet. */
const volatile __u64 join_key_k0 = 0x7472696275746172ULL;
const volatile __u64 join_key_k1 = 0x6a6f696e2d6b6579ULL;

/* 0: UDP is left alone. */
const volatile __u32 follow_datagrams = 1;

/* When the look began, CLOCK_MONOTONIC. */
const volatile __u64 look_start_ns = 0;

/* A flow of datagrams is over when none passed for so long. */
const volatile __u64 datagram_idle_ns = 60000000000ULL;

/* The reader knows a process for so long after an event that named it. What names another one wakes the reader: it has
 * to look at the process while that runs. 0: it knows none, and looks by its own timer. */
const volatile __u64 process_known_ns = 0;

/* Whether a connection of a process that is known is told with the next totals or the close, not as it opens. */
const volatile __u32 openings_wait = 0;

/* The reader is woken whenever this much more waits in the ring; less is found by the reader's own timer. */
const volatile __u64 wakeup_bytes = 64 * 1024;

/* A socket that several processes use in turn reports at most so many changes of its owner. */
#define OWNER_CHANGES_MAX 4
