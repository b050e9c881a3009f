#pragma once

// What is observed (hook), and by which means it can be (backends, the best first). The kernel decides which one works:
// each backend is probed by really loading and attaching a program of two instructions (probe.cc). A backend whose
// program an object does not have is none of that object's.

#include <vector>

namespace tributary {

enum class Means {
  kTracepoint,
  kFunctionEntry,
  kIterator,
  kClassicTracepoint,
  kFunctionProbe,
  kFunctionReturn,
  kCgroupPacket,
  kCgroupSocket
};

/** What a user may do without. */
enum class Feature { kSockets, kDrops, kDatagrams, kDns };

struct Backend {
  Means means;
  const char *target;         // tracepoint, function, iterator or place in a control group, as the kernel calls it
  const char *program;        // in collector.bpf.o, collector-kprobe.bpf.o or both
  const char *map = nullptr;  // over which the iterator goes, if it needs one

  const char *MeansName() const {
    switch (means) {
      case Means::kTracepoint:
        return "tp_btf";
      case Means::kFunctionEntry:
        return "fentry";
      case Means::kIterator:
        return "iter";
      case Means::kClassicTracepoint:
        return "tp";
      case Means::kFunctionProbe:
        return "kprobe";
      case Means::kFunctionReturn:
        return "kretprobe";
      case Means::kCgroupPacket:
        return "cgroup_skb";
      case Means::kCgroupSocket:
        return "cgroup";
    }
    return "";
  }

  bool IsOfPerf() const {
    return means == Means::kClassicTracepoint || means == Means::kFunctionProbe || means == Means::kFunctionReturn;
  }
  bool IsOfCgroup() const { return means == Means::kCgroupPacket || means == Means::kCgroupSocket; }
};

struct Hook {
  const char *name;
  bool required;  // without it there is nothing to collect
  std::vector<Backend> backends;
  Feature feature = Feature::kSockets;
};

inline const std::vector<Hook> &Hooks() {
  static const std::vector<Hook> hooks = {
      {"tcp_state",
       true,
       {{Means::kTracepoint, "inet_sock_set_state", "tcp_state_btf"},
        {Means::kClassicTracepoint, "sock/inet_sock_set_state", "tcp_state_tracepoint"}}},
      {"tcp_state_again", false, {{Means::kTracepoint, "inet_sock_set_state", "tcp_state_again_btf"}}},
      {"tcp_destroyed",
       false,
       {{Means::kTracepoint, "tcp_destroy_sock", "tcp_destroyed_btf"},
        {Means::kClassicTracepoint, "tcp/tcp_destroy_sock", "tcp_destroyed_tracepoint"}}},
      {"accept", false, {{Means::kFunctionReturn, "inet_csk_accept", "accept_kretprobe"}}},
      {"socket_send",
       false,
       {{Means::kTracepoint, "sock_send_length", "socket_send_btf"},
        {Means::kFunctionEntry, "tcp_sendmsg", "socket_send_fentry"},
        {Means::kFunctionProbe, "tcp_sendmsg", "socket_send_kprobe"}}},
      {"socket_receive",
       false,
       {{Means::kTracepoint, "sock_recv_length", "socket_receive_btf"},
        {Means::kFunctionEntry, "tcp_recvmsg", "socket_receive_fentry"},
        {Means::kFunctionProbe, "tcp_recvmsg", "socket_receive_kprobe"}}},
      {"reset_received",
       false,
       {{Means::kTracepoint, "tcp_receive_reset", "reset_received_btf"},
        {Means::kClassicTracepoint, "tcp/tcp_receive_reset", "reset_received_tracepoint"},
        {Means::kFunctionProbe, "tcp_reset", "reset_received_kprobe"}}},
      {"reset_sent", false, {{Means::kTracepoint, "tcp_send_reset", "reset_sent_btf"}}},
      {"retransmit",
       false,
       {{Means::kTracepoint, "tcp_retransmit_skb", "retransmit_btf"},
        {Means::kClassicTracepoint, "tcp/tcp_retransmit_skb", "retransmit_tracepoint"}}},
      {"zero_window",
       false,
       {{Means::kTracepoint, "tcp_rcv_space_adjust", "zero_window_btf"},
        {Means::kFunctionProbe, "tcp_rcv_space_adjust", "zero_window_kprobe"}}},
      {"totals",
       false,
       {{Means::kIterator, "bpf_sk_storage_map", "totals_storage", "socket_states"},
        {Means::kIterator, "task_file", "totals_descriptors"},
        {Means::kIterator, "tcp", "totals_tcp"}}},
      {"live",
       false,
       {{Means::kIterator, "bpf_sk_storage_map", "live_storage", "socket_states"},
        {Means::kIterator, "tcp", "live_tcp"}}},
      {"owners", false, {{Means::kIterator, "task_file", "own_descriptors"}}},
      {"adopt_namespace", false, {{Means::kIterator, "tcp", "adopt_tcp"}}},
      {"adopt_descriptors", false, {{Means::kIterator, "task_file", "adopt_descriptors"}}},
      {"listeners", false, {{Means::kIterator, "bpf_sk_storage_map", "listeners_storage", "listener_states"}}},
      {"drop",
       false,
       {{Means::kTracepoint, "kfree_skb", "drop_receiver_btf"}, {Means::kTracepoint, "kfree_skb", "drop_btf"}},
       Feature::kDrops},
      {"drops", false, {{Means::kIterator, "bpf_map_elem", "drops_map", "drop_places"}}, Feature::kDrops},
      {"datagram_sent", false, {{Means::kCgroupPacket, "egress", "datagram_sent"}}, Feature::kDatagrams},
      {"datagram_arrived", false, {{Means::kCgroupPacket, "ingress", "datagram_arrived"}}, Feature::kDatagrams},
      {"datagram_dropped",
       false,
       {{Means::kTracepoint, "udp_fail_queue_rcv_skb", "datagram_dropped_btf"}},
       Feature::kDatagrams},
      {"datagram_socket_created",
       false,
       {{Means::kCgroupSocket, "sock_create", "datagram_socket_created"}},
       Feature::kDatagrams},
      {"datagram_socket_released",
       false,
       {{Means::kCgroupSocket, "sock_release", "datagram_socket_released"}},
       Feature::kDatagrams},
      {"datagram_owners", false, {{Means::kIterator, "task_file", "own_datagrams"}}, Feature::kDatagrams},
      {"datagram_totals",
       false,
       {{Means::kIterator, "bpf_map_elem", "totals_datagrams", "datagram_flows"}},
       Feature::kDatagrams},
      {"dns_sent", false, {{Means::kCgroupPacket, "egress", "dns_sent"}}, Feature::kDns},
      {"dns_arrived", false, {{Means::kCgroupPacket, "ingress", "dns_arrived"}}, Feature::kDns},
  };
  return hooks;
}

}  // namespace tributary
