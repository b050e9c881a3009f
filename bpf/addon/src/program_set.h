#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hooks.h"
#include "unique_fd.h"

namespace tributary {

struct ProgramOptions {
  /** Where the objects are. */
  std::string folder;
  /** `btf` or `kprobe`; empty: the first that loads. */
  std::string object;
  uint32_t ring_bytes;
  uint32_t wakeup_bytes;
  uint32_t scope_netns;
  uint64_t scope_cgroup;
  uint32_t scope_cgroup_level;
  bool has_join_key_hash = false;
  uint64_t join_key_hash[2];
  std::set<Feature> left_out;
  uint64_t datagram_idle_ns;
  uint64_t process_known_ns;
};

/** How one hook is served: by `backend`, or by none, and then `error` says why. */
struct HookStatus {
  const Hook *hook;
  const Backend *backend = nullptr;
  std::string error;
};

/** The loaded object: programs, maps, and the links of what is attached. All of it goes with the process. */
class ProgramSet {
 public:
  /** Loads the best backend of each hook that this kernel accepts. Throws std::runtime_error with a sentence. */
  explicit ProgramSet(const ProgramOptions &options);

  ~ProgramSet();
  ProgramSet(const ProgramSet &) = delete;

  /** Attaches every loaded program but those of the shed hooks. A hook that fails keeps its error; the others go on. */
  void Attach();
  /** Detaches these hooks and attaches all others. */
  void Shed(const std::set<std::string> &hooks);
  /** While on, the kernel measures the run time of programs, of all on the machine. Returns an errno, or 0. */
  int Measure(bool on);

  /** Which object was loaded, `btf` or `kprobe`. */
  const std::string &object_name() const { return object_name_; }
  const std::vector<HookStatus> &hooks() const { return hooks_; }
  /** By what the hook is served, or nullptr. */
  const Backend *FindBackend(const std::string &hook) const;
  /** The link of an attached hook, or nullptr. */
  bpf_link *FindLink(const std::string &hook) const;
  int MapFd(const char *name) const;
  /** How often the kernel skipped the hook's program, because that was active on the same processor. 0 before
   * Linux 5.12. */
  uint64_t CountSkips(const HookStatus &status) const;
  /** What the hook's program took since it was loaded, while it was measured, nanoseconds. */
  uint64_t RunNs(const HookStatus &status) const;
  /** A counter, or a row of them, in the memory that the programs write: reading it is no system call. */
  const volatile uint64_t *FindCounters(const char *variable, size_t count) const;

 private:
  struct ObjectCloser {
    void operator()(bpf_object *object) const { bpf_object__close(object); }
  };
  struct LinkDestroyer {
    void operator()(bpf_link *link) const { bpf_link__destroy(link); }
  };

  /** Leaves object_ empty when it cannot be used; returns why. */
  std::string LoadObject(const ProgramOptions &options, const std::string &path);
  void OpenObject(const std::string &path);
  /** Returns why a required hook has none, or nothing. */
  std::string ChooseBackends(const ProgramOptions &options);
  /** 0 when the backend works, else the errno. */
  int Probe(const Backend &backend);
  /** Returns false when a program was refused: its backend is excluded then, and the next one may do. */
  bool TryLoad(const ProgramOptions &options);
  void Configure(const ProgramOptions &options);
  void MapCounters();
  bpf_prog_info ProgramInfo(const HookStatus &status) const;
  /** Offset of a variable within its section's map. */
  size_t FindVariable(const char *section, const char *variable, size_t bytes) const;

  // Members are destroyed in reverse order: the links before their object.
  std::unique_ptr<bpf_object, ObjectCloser> object_;
  std::map<std::string, std::unique_ptr<bpf_link, LinkDestroyer>> links_;
  std::string object_name_;
  std::vector<HookStatus> hooks_;
  std::set<std::string> shed_;
  UniqueFd measuring_;
  const uint8_t *counters_ = nullptr;
  size_t counters_bytes_ = 0;
  /** Program name → what its backend's probe said. */
  std::map<std::string, int> probed_;
  /** Program name → why the kernel refused it. */
  std::map<std::string, std::string> refused_;
};

}  // namespace tributary
