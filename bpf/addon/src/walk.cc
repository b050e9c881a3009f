#include "walk.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "gen/kernel_events.h"

namespace tributary {
namespace {

size_t RecordBytesOf(const std::string &walk) {
  if (walk == "drops") return sizeof(drop_count);
  return walk == "listeners" ? sizeof(listener_event) : sizeof(socket_event);
}

}  // namespace

Walk::Walk(const ProgramSet &programs, const std::string &name, uint32_t scope_netns)
    : record_bytes_(RecordBytesOf(name)) {
  if (name == "adopt") {
    AddHook(programs, "owners");
    AddNamespaces(programs, "adopt_namespace", scope_netns);
    AddHook(programs, "adopt_descriptors");
  } else {
    const Backend *backend = programs.FindBackend(name);
    // Such an iterator sees one namespace.
    if (backend && strcmp(backend->target, "tcp") == 0)
      AddNamespaces(programs, name.c_str(), scope_netns);
    else
      AddHook(programs, name.c_str());
  }
  if (name == "totals") AddHook(programs, "datagram_totals");
  if (name == "owners") AddHook(programs, "datagram_owners");
}

void Walk::AddHook(const ProgramSet &programs, const char *hook) {
  if (bpf_link *link = programs.FindLink(hook)) {
    steps_.push_back([link] {
      const int fd = bpf_iter_create(bpf_link__fd(link));
      return fd < 0 ? -errno : fd;
    });
  }
}

void Walk::AddNamespaces(const ProgramSet &programs, const char *hook, uint32_t scope_netns) {
  bpf_link *link = programs.FindLink(hook);
  if (!link) return;
  namespaces_ = ListNetworkNamespaces(scope_netns);
  for (size_t i = 0; i < namespaces_.size(); i++)
    steps_.push_back([this, i, link] { return CreateIteratorInside(namespaces_[i], bpf_link__fd(link)); });
}

size_t Walk::ReadInto(uint8_t *target, size_t capacity) {
  capacity -= capacity % record_bytes_;
  size_t written = 0;
  while (written < capacity) {
    if (!current_) {
      if (next_step_ == steps_.size()) break;
      const int fd = steps_[next_step_++]();
      // Without the right to enter a namespace its sockets are still found through descriptors.
      if (fd < 0) continue;
      current_ = UniqueFd(fd);
    }
    const ssize_t bytes = read(current_.get(), target + written, capacity - written);
    if (bytes < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (bytes < 0) throw std::runtime_error(std::string("walking the sockets failed: ") + strerror(errno));
    if (bytes == 0) current_ = UniqueFd();
    written += static_cast<size_t>(bytes);
  }
  // A read may end inside a record only when the buffer was full, and its size is a multiple of a record's.
  if (written % record_bytes_ != 0) throw std::runtime_error("the kernel's iterator ended inside a record");
  return written;
}

}  // namespace tributary
