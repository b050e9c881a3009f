#pragma once

// The mount of the control groups, version 2, at /sys/fs/cgroup or beside version 1 at /sys/fs/cgroup/unified.

#include "unique_fd.h"

namespace tributary {

/** Empty, with errno ENOENT, when there is none. */
UniqueFd OpenCgroupRoot();

}  // namespace tributary
