#pragma once

#include <cstddef>
#include <cstdint>

namespace tributary {

/** Takes ends of sockets that found the ring full out of their map (bpf/include/deferred.h), as many as fit; returns
 * the bytes written, 0 when none is left. Throws std::runtime_error. */
size_t TakeDeferredEnds(int map_fd, uint8_t *target, size_t capacity);

}  // namespace tributary
