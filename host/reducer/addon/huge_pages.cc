// Huge pages behind a WebAssembly memory. V8 reserves the 4 GiB that a 32-bit address can name, of which the memory is
// the part that can be read and written (mprotect); what grows into the rest later keeps what was advised for it.
//
//   buffer                 its end            4 GiB
//     | rw-p                 | ---p             :        |
//     '------------- advised -------------------'

#include <sys/mman.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>

#include "addon.h"

namespace tributary {
namespace {

constexpr uintptr_t ADDRESSABLE_BYTES = uintptr_t{1} << 32;

struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool is_anonymous = false;
  bool is_reserved = false;
};

/** A line as `7fb376810000-7fb474000000 ---p 00000000 00:00 0` (proc_pid_maps(5)). */
bool ParseMapping(const char *line, Mapping *mapping) {
  char permissions[5];
  unsigned long inode;
  if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu", &mapping->begin, &mapping->end, permissions, &inode) !=
      4)
    return false;
  mapping->is_anonymous = permissions[3] == 'p' && inode == 0;
  mapping->is_reserved = strncmp(permissions, "---", 3) == 0;
  return true;
}

/** Where the memory that has [begin, end) could grow to: the end of its mapping, and of the reservation right behind. 0
 * when it has none. */
uintptr_t FindReservedEnd(uintptr_t begin, uintptr_t end) {
  const std::unique_ptr<FILE, decltype(&fclose)> maps(fopen("/proc/self/maps", "re"), &fclose);
  uintptr_t reserved_end = 0;
  char line[512];
  while (maps && fgets(line, sizeof(line), maps.get())) {
    Mapping mapping;
    if (!ParseMapping(line, &mapping) || !mapping.is_anonymous) continue;
    if (mapping.begin <= begin && end <= mapping.end) {
      reserved_end = mapping.end;
    } else if (mapping.begin == reserved_end && mapping.is_reserved) {
      return mapping.end;
    }
  }
  return reserved_end;
}

}  // namespace

Napi::Value Advise(const Napi::CallbackInfo &info) {
  if (!info[0].IsArrayBuffer()) throw Napi::TypeError::New(info.Env(), "buffer must be the ArrayBuffer of a memory");
  auto buffer = info[0].As<Napi::ArrayBuffer>();
  const auto begin = reinterpret_cast<uintptr_t>(buffer.Data());
  const uintptr_t end = std::min(FindReservedEnd(begin, begin + buffer.ByteLength()), begin + ADDRESSABLE_BYTES);
  const bool is_done = begin < end && madvise(buffer.Data(), end - begin, MADV_HUGEPAGE) == 0;
  return Napi::Boolean::New(info.Env(), is_done);
}

}  // namespace tributary
