#pragma once

#include <cstdint>
#include <vector>

#include "unique_fd.h"

namespace tributary {

struct NetworkNamespace {
  uint32_t inode;
  UniqueFd fd;
};

/**
 * Every network namespace that a process is in or that is bind-mounted; `scope` != 0 keeps only that inode. A namespace
 * that lives through sockets alone is not found this way: its sockets are, through their descriptors.
 */
std::vector<NetworkNamespace> ListNetworkNamespaces(uint32_t scope);

/** bpf_iter_create as seen from inside `network_namespace`; returns the descriptor, or -errno. */
int CreateIteratorInside(const NetworkNamespace &network_namespace, int link_fd);

}  // namespace tributary
