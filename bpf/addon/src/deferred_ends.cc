#include "deferred_ends.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include "gen/kernel_events.h"

namespace tributary {
namespace {

/** struct deferred_key. */
struct Key {
  uint64_t cookie;
  uint64_t time_ns;
};

}  // namespace

size_t TakeDeferredEnds(int map_fd, uint8_t *target, size_t capacity) {
  size_t written = 0;
  Key key;
  bool is_there = bpf_map_get_next_key(map_fd, nullptr, &key) == 0;
  while (is_there && capacity - written >= sizeof(socket_event)) {
    // Asked for before the key is gone: without a key the search begins anew in front of all that was taken.
    Key next;
    const bool has_next = bpf_map_get_next_key(map_fd, &key, &next) == 0;
    // Only this process deletes, so the end is there. A kernel before 5.14 cannot do both in one call.
    if (bpf_map_lookup_elem(map_fd, &key, target + written) != 0 || bpf_map_delete_elem(map_fd, &key) != 0)
      throw std::runtime_error(std::string("taking a deferred end failed: ") + strerror(errno));
    written += sizeof(socket_event);
    key = next;
    is_there = has_next;
  }
  return written;
}

}  // namespace tributary
