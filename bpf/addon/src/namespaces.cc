#include "namespaces.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>

namespace tributary {
namespace {

class Collection {
 public:
  explicit Collection(uint32_t scope) : scope_(scope) {}

  void Add(const std::string &path) {
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status;
    if (!fd || fstat(fd.get(), &status) != 0) return;  // the process is gone, or is not ours to see
    const auto inode = static_cast<uint32_t>(status.st_ino);
    if (scope_ != 0 && inode != scope_) return;
    if (seen_.insert(inode).second) found_.push_back({inode, std::move(fd)});
  }

  std::vector<NetworkNamespace> Take() { return std::move(found_); }

 private:
  const uint32_t scope_;
  std::set<uint32_t> seen_;
  std::vector<NetworkNamespace> found_;
};

void AddFromProcesses(Collection &collection) {
  DIR *proc = opendir("/proc");
  if (!proc) return;
  while (const dirent *entry = readdir(proc)) {
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
      collection.Add(std::string("/proc/") + entry->d_name + "/ns/net");
  }
  closedir(proc);
}

// `ip netns` and container runtimes keep a namespace without processes by a bind mount: "... - nsfs nsfs rw", root
// "net:[4026532281]". The first process's view is the host's, also from inside a container that shares its process
// namespace.
void AddFromMounts(Collection &collection) {
  std::ifstream mounts("/proc/1/mountinfo");
  std::string line;
  while (std::getline(mounts, line)) {
    std::istringstream words(line);
    std::string id, parent, device, root, point;
    words >> id >> parent >> device >> root >> point;
    if (root.rfind("net:[", 0) == 0) collection.Add("/proc/1/root" + point);
  }
}

}  // namespace

std::vector<NetworkNamespace> ListNetworkNamespaces(uint32_t scope) {
  Collection collection(scope);
  collection.Add("/proc/self/ns/net");
  AddFromProcesses(collection);
  AddFromMounts(collection);
  return collection.Take();
}

int CreateIteratorInside(const NetworkNamespace &network_namespace, int link_fd) {
  int result = 0;
  // A thread of its own, so that no other thread of the process ever changes its namespace.
  std::thread([&] {
    if (setns(network_namespace.fd.get(), CLONE_NEWNET) != 0) {
      result = -errno;
      return;
    }
    const int fd = bpf_iter_create(link_fd);
    result = fd < 0 ? -errno : fd;
  }).join();
  return result;
}

}  // namespace tributary
