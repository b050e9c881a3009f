#include "program_set.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/btf.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <stdexcept>

#include "cgroup_root.h"
#include "probe.h"

namespace tributary {
namespace {

// libbpf says only in its log which program of an object the kernel refused, and with which last words of the verifier.
thread_local std::string refused_program;
thread_local std::string refused_because;

std::string LastLine(const std::string &text) {
  const size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "";
  const size_t start = text.find_last_of('\n', end);
  return text.substr(start == std::string::npos ? 0 : start + 1,
                     end - (start == std::string::npos ? 0 : start + 1) + 1);
}

int NoteRefusal(libbpf_print_level, const char *format, va_list arguments) {
  char buffer[64 * 1024];
  vsnprintf(buffer, sizeof(buffer), format, arguments);
  const std::string text(buffer);
  const size_t name_start = text.find("prog '");
  if (name_start == std::string::npos) return 0;
  const size_t name_end = text.find('\'', name_start + 6);
  const std::string name = text.substr(name_start + 6, name_end - name_start - 6);
  if (text.find("BPF program load failed: ") != std::string::npos) {
    refused_program = name;
    refused_because = text.substr(text.find("load failed: ") + 13);
    while (!refused_because.empty() && refused_because.back() == '\n') refused_because.pop_back();
  } else if (name == refused_program && text.find("-- BEGIN PROG LOAD LOG --") != std::string::npos) {
    const size_t log_end = text.find("\nprocessed ");
    refused_because += "; the verifier's last words: " + LastLine(text.substr(0, log_end));
  }
  return 0;
}

/** The best first. */
constexpr struct ObjectFile {
  const char *object;
  const char *name;
} kObjectFiles[] = {{"btf", "collector.bpf.o"}, {"kprobe", "collector-kprobe.bpf.o"}};

}  // namespace

ProgramSet::ProgramSet(const ProgramOptions &options) {
  const std::string missing = FindMissingPrivilege();
  if (!missing.empty()) throw std::runtime_error(missing);
  std::string complaints;
  for (const ObjectFile &file : kObjectFiles) {
    if (!options.object.empty() && options.object != file.object) continue;
    complaints += LoadObject(options, options.folder + "/" + file.name);
    object_name_ = file.object;
    if (!object_) continue;
    MapCounters();
    return;
  }
  throw std::runtime_error("the kernel offers no way to follow TCP sockets (hook tcp_state): " + complaints);
}

std::string ProgramSet::LoadObject(const ProgramOptions &options, const std::string &path) {
  // Programs of the same name differ between the objects.
  refused_.clear();
  do {
    OpenObject(path);
    const std::string complaint = ChooseBackends(options);
    if (!complaint.empty()) {
      object_.reset();
      return complaint;
    }
  } while (!TryLoad(options));
  return "";
}

void ProgramSet::OpenObject(const std::string &path) {
  const auto previous_print = libbpf_set_print(NoteRefusal);
  object_.reset(bpf_object__open_file(path.c_str(), nullptr));
  const int error = errno;
  libbpf_set_print(previous_print);
  if (!object_)
    throw std::runtime_error("cannot read the eBPF programs in " + path + ": " + strerror(error) +
                             "; build them with: npm run build:bpf");
}

int ProgramSet::Probe(const Backend &backend) {
  const auto [known, is_new] = probed_.try_emplace(backend.program, 0);
  if (is_new) known->second = ProbeBackend(backend);
  return known->second;
}

std::string ProgramSet::ChooseBackends(const ProgramOptions &options) {
  hooks_.clear();
  for (const Hook &hook : Hooks()) {
    if (options.left_out.count(hook.feature)) continue;
    HookStatus status{.hook = &hook, .backend = nullptr, .error = ""};
    bool is_possible = false;
    for (const Backend &backend : hook.backends) {
      if (!bpf_object__find_program_by_name(object_.get(), backend.program)) continue;
      is_possible = true;
      const auto refusal = refused_.find(backend.program);
      const int error = refusal == refused_.end() ? Probe(backend) : 0;
      if (refusal == refused_.end() && error == 0) {
        status.backend = &backend;
        break;
      }
      if (!status.error.empty()) status.error += "; ";
      status.error += std::string(backend.MeansName()) + "/" + backend.target + ": " +
                      (refusal == refused_.end() ? strerror(error) : refusal->second);
    }
    if (!status.backend && hook.required) return status.error + "; ";
    if (status.backend) status.error.clear();
    // A hook that only the other object needs is none here.
    if (is_possible) hooks_.push_back(status);
  }
  return "";
}

bool ProgramSet::TryLoad(const ProgramOptions &options) {
  Configure(options);
  for (const HookStatus &status : hooks_) {
    if (!status.backend) continue;
    bpf_program__set_autoload(bpf_object__find_program_by_name(object_.get(), status.backend->program), true);
  }
  const auto previous_print = libbpf_set_print(NoteRefusal);
  refused_program.clear();
  const int result = bpf_object__load(object_.get());
  libbpf_set_print(previous_print);
  if (result == 0) return true;
  if (refused_program.empty() || refused_.count(refused_program))
    throw std::runtime_error(std::string("the eBPF programs cannot be loaded: ") + strerror(-result));
  refused_[refused_program] = refused_because;
  return false;
}

void ProgramSet::Configure(const ProgramOptions &options) {
  bpf_map *ring = bpf_object__find_map_by_name(object_.get(), "events");
  if (!ring || bpf_map__set_max_entries(ring, options.ring_bytes) != 0)
    throw std::runtime_error("the eBPF object lacks the ring buffer `events`");
  bpf_map *map = bpf_object__find_map_by_name(object_.get(), ".rodata");
  size_t bytes = 0;
  auto *knobs = map ? static_cast<uint8_t *>(const_cast<void *>(bpf_map__initial_value(map, &bytes))) : nullptr;
  if (!knobs) throw std::runtime_error("the eBPF object lacks its configuration `.rodata`");
  const auto set = [&](const char *variable, auto value) {
    memcpy(knobs + FindVariable(".rodata", variable, sizeof(value)), &value, sizeof(value));
  };
  set("scope_netns", options.scope_netns);
  set("scope_cgroup", options.scope_cgroup);
  set("scope_cgroup_level", options.scope_cgroup_level);
  set("wakeup_bytes", uint64_t{options.wakeup_bytes});
  set("follow_datagrams", uint32_t{options.left_out.count(Feature::kDatagrams) == 0});
  set("datagram_idle_ns", options.datagram_idle_ns);
  set("process_known_ns", options.process_known_ns);
  // What waits is told by the walk over the states themselves. A state elsewhere than in its socket may go before that.
  const Backend *totals = FindBackend("totals");
  set("openings_wait", uint32_t{options.process_known_ns != 0 && totals && totals->map});
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  set("look_start_ns", static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec));
  if (options.has_join_key_hash) {
    set("join_key_k0", options.join_key_hash[0]);
    set("join_key_k1", options.join_key_hash[1]);
  }
}

size_t ProgramSet::FindVariable(const char *section, const char *variable, size_t bytes) const {
  const btf *types = bpf_object__btf(object_.get());
  const int section_id = types ? btf__find_by_name_kind(types, section, BTF_KIND_DATASEC) : -ENOENT;
  if (section_id > 0) {
    const btf_type *type = btf__type_by_id(types, static_cast<__u32>(section_id));
    const btf_var_secinfo *info = btf_var_secinfos(type);
    for (int i = 0; i < btf_vlen(type); i++) {
      const btf_type *candidate = btf__type_by_id(types, info[i].type);
      if (strcmp(btf__name_by_offset(types, candidate->name_off), variable) == 0 && info[i].size == bytes)
        return info[i].offset;
    }
  }
  throw std::runtime_error(std::string("the eBPF object lacks the variable ") + variable +
                           ": it was built from other sources; run: npm run build:bpf");
}

// libbpf's own copy of .bss is the initial value and no more: the living one is the map, whose pages can be mapped.
void ProgramSet::MapCounters() {
  const bpf_map *map = bpf_object__find_map_by_name(object_.get(), ".bss");
  const size_t bytes = map ? bpf_map__value_size(map) : 0;
  void *memory = map ? mmap(nullptr, bytes, PROT_READ, MAP_SHARED, bpf_map__fd(map), 0) : MAP_FAILED;
  if (memory == MAP_FAILED) throw std::runtime_error(std::string("the counters cannot be mapped: ") + strerror(errno));
  counters_ = static_cast<const uint8_t *>(memory);
  counters_bytes_ = bytes;
}

const volatile uint64_t *ProgramSet::FindCounters(const char *variable, size_t count) const {
  const size_t offset = FindVariable(".bss", variable, count * sizeof(uint64_t));
  return reinterpret_cast<const volatile uint64_t *>(counters_ + offset);
}

ProgramSet::~ProgramSet() {
  if (counters_) munmap(const_cast<uint8_t *>(counters_), counters_bytes_);
}

int ProgramSet::MapFd(const char *name) const { return bpf_map__fd(bpf_object__find_map_by_name(object_.get(), name)); }

void ProgramSet::Attach() {
  for (HookStatus &status : hooks_) {
    if (!status.backend || links_.count(status.hook->name) || shed_.count(status.hook->name)) continue;
    bpf_program *program = bpf_object__find_program_by_name(object_.get(), status.backend->program);
    bpf_link *link = nullptr;
    if (status.backend->map) {
      bpf_iter_link_info info = {};
      info.map.map_fd = static_cast<__u32>(MapFd(status.backend->map));
      LIBBPF_OPTS(bpf_iter_attach_opts, options);
      options.link_info = &info;
      options.link_info_len = sizeof(info);
      link = bpf_program__attach_iter(program, &options);
    } else if (status.backend->IsOfCgroup()) {
      const UniqueFd root = OpenCgroupRoot();
      link = root ? bpf_program__attach_cgroup(program, root.get()) : nullptr;
    } else {
      link = bpf_program__attach(program);
    }
    if (link) {
      links_[status.hook->name].reset(link);
    } else {
      status.error = std::string("attaching failed: ") + strerror(errno);
    }
  }
}

const Backend *ProgramSet::FindBackend(const std::string &hook) const {
  for (const HookStatus &status : hooks_)
    if (hook == status.hook->name) return status.backend;
  return nullptr;
}

bpf_link *ProgramSet::FindLink(const std::string &hook) const {
  const auto found = links_.find(hook);
  return found == links_.end() ? nullptr : found->second.get();
}

void ProgramSet::Shed(const std::set<std::string> &hooks) {
  shed_ = hooks;
  for (const std::string &hook : hooks) links_.erase(hook);
  Attach();
}

int ProgramSet::Measure(bool on) {
  if (on == static_cast<bool>(measuring_)) return 0;
  if (!on) {
    measuring_ = UniqueFd();
    return 0;
  }
  const int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
  if (fd < 0) return errno;
  measuring_ = UniqueFd(fd);
  return 0;
}

bpf_prog_info ProgramSet::ProgramInfo(const HookStatus &status) const {
  bpf_prog_info info = {};
  if (!status.backend) return info;
  const bpf_program *program = bpf_object__find_program_by_name(object_.get(), status.backend->program);
  __u32 bytes = sizeof(info);
  if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &bytes) != 0) return {};
  return info;
}

uint64_t ProgramSet::CountSkips(const HookStatus &status) const { return ProgramInfo(status).recursion_misses; }

uint64_t ProgramSet::RunNs(const HookStatus &status) const { return ProgramInfo(status).run_time_ns; }

}  // namespace tributary
