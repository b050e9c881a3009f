#include "cgroup_root.h"

#include <fcntl.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>

namespace tributary {

// A line is "id parent device root point options optional... - type source options" (proc(5)).
UniqueFd OpenCgroupRoot() {
  std::ifstream mounts("/proc/self/mountinfo");
  std::string line;
  while (std::getline(mounts, line)) {
    const size_t separator = line.find(" - cgroup2 ");
    if (separator == std::string::npos) continue;
    std::istringstream words(line);
    std::string id, parent, device, root, point;
    words >> id >> parent >> device >> root >> point;
    UniqueFd fd(open(point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd) return fd;
  }
  errno = ENOENT;
  return UniqueFd();
}

}  // namespace tributary
