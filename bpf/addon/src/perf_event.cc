#include "perf_event.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <string>

namespace tributary {
namespace {

/** The number in the file, behind `prefix`; -1 with errno set when there is none. */
int ReadNumber(const std::string &path, const std::string &prefix = "") {
  std::ifstream file(path);
  std::string text;
  if (!(file >> text) || text.compare(0, prefix.size(), prefix) != 0) {
    errno = ENOENT;
    return -1;
  }
  return std::stoi(text.substr(prefix.size()));
}

int ReadTracepointId(const char *target) {
  for (const char *root : {"/sys/kernel/tracing/events/", "/sys/kernel/debug/tracing/events/"}) {
    const int id = ReadNumber(std::string(root) + target + "/id");
    if (id >= 0) return id;
  }
  return -1;
}

}  // namespace

UniqueFd OpenPerfEvent(const Backend &backend) {
  perf_event_attr attributes = {};
  attributes.size = sizeof(attributes);
  if (backend.means == Means::kClassicTracepoint) {
    const int id = ReadTracepointId(backend.target);
    if (id < 0) return UniqueFd();
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.config = static_cast<uint64_t>(id);
  } else {
    const std::string device = "/sys/bus/event_source/devices/kprobe/";
    const int type = ReadNumber(device + "type");
    const int return_bit = ReadNumber(device + "format/retprobe", "config:");
    if (type < 0 || return_bit < 0) return UniqueFd();
    attributes.type = static_cast<uint32_t>(type);
    attributes.config = backend.means == Means::kFunctionReturn ? uint64_t{1} << return_bit : 0;
    attributes.kprobe_func = reinterpret_cast<uint64_t>(backend.target);
  }
  return UniqueFd(static_cast<int>(syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)));
}

}  // namespace tributary
