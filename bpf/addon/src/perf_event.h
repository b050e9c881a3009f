#pragma once

// Tracepoints of the classic kind and kprobes are reached through perf events.

#include "hooks.h"
#include "unique_fd.h"

namespace tributary {

/** The event behind a backend of these means, on processor 0. Empty with errno set when the kernel has none. */
UniqueFd OpenPerfEvent(const Backend &backend);

}  // namespace tributary
