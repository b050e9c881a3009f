#include "resident_memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <memory>

namespace tributary {
namespace {

struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool is_read_only_file = false;
};

/** The first line of a mapping, as `00400000-0082e000 r--p 00000000 fe:00 1234 /usr/bin/node` (proc_pid_smaps(5)). */
void ParseHead(const char *line, Mapping *mapping) {
  Mapping parsed;
  char permissions[5];
  unsigned long inode;
  const int count =
      sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu", &parsed.begin, &parsed.end, permissions, &inode);
  if (count != 4) return;
  parsed.is_read_only_file = permissions[1] == '-' && permissions[3] == 'p' && inode != 0;
  *mapping = parsed;
}

}  // namespace

void TrimHeap() { malloc_trim(0); }

void DropFilePages() {
  const std::unique_ptr<FILE, decltype(&fclose)> smaps(fopen("/proc/self/smaps", "re"), &fclose);
  Mapping mapping;
  char line[512];
  while (smaps && fgets(line, sizeof(line), smaps.get())) {
    unsigned long copies_kb;
    if (sscanf(line, "Anonymous: %lu kB", &copies_kb) != 1) {
      ParseHead(line, &mapping);
    } else if (mapping.is_read_only_file && copies_kb == 0) {
      // A page that a relocation changed is a copy, which would be lost.
      madvise(reinterpret_cast<void *>(mapping.begin), mapping.end - mapping.begin, MADV_DONTNEED);
    }
  }
}

}  // namespace tributary
