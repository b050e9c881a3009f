#pragma once

// One pass over sockets, or over what was dropped: a sequence of iterators, read in pieces. All records of a pass have
// one size.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "namespaces.h"
#include "program_set.h"
#include "unique_fd.h"

namespace tributary {

class Walk {
 public:
  /** `totals`, `live`, `owners`, `drops`, or `adopt` (owners, then every network namespace, then what only descriptors
   * lead to). */
  Walk(const ProgramSet &programs, const std::string &name, uint32_t scope_netns);

  /** Fills `target` with whole records; returns their bytes, 0 at the end of the pass. Throws std::runtime_error. */
  size_t ReadInto(uint8_t *target, size_t capacity);

 private:
  void AddHook(const ProgramSet &programs, const char *hook);
  void AddNamespaces(const ProgramSet &programs, const char *hook, uint32_t scope_netns);

  /** Each makes the descriptor of one iterator, or returns -errno. */
  std::vector<std::function<int()>> steps_;
  size_t record_bytes_;
  std::vector<NetworkNamespace> namespaces_;
  size_t next_step_ = 0;
  UniqueFd current_;
};

}  // namespace tributary
