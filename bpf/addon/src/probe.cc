// Support is never inferred from BTF, kernel configuration or program type: there are kernels on which fentry programs
// are announced by all three and cannot be loaded, while tracepoints of the same program type work.

#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "cgroup_root.h"
#include "perf_event.h"
#include "unique_fd.h"

namespace tributary {
namespace {

bpf_attach_type AttachType(Means means) {
  switch (means) {
    case Means::kTracepoint:
      return BPF_TRACE_RAW_TP;
    case Means::kFunctionEntry:
      return BPF_TRACE_FENTRY;
    case Means::kIterator:
      return BPF_TRACE_ITER;
    case Means::kClassicTracepoint:
    case Means::kFunctionProbe:
    case Means::kFunctionReturn:
    case Means::kCgroupPacket:
    case Means::kCgroupSocket:
      break;
  }
  return BPF_TRACE_RAW_TP;
}

// r0 = 0; exit
const bpf_insn kReturnZero[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
};

// r0 = 1; exit. In a control group 0 would forbid what the program is asked about.
const bpf_insn kReturnOne[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 1},
    {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
};

int ProbeCgroup(const Backend &backend) {
  bpf_prog_type program_type;
  bpf_attach_type attach_type;
  const int error = libbpf_prog_type_by_name((std::string(backend.MeansName()) + "/" + backend.target).c_str(),
                                             &program_type, &attach_type);
  if (error != 0) return -error;
  const UniqueFd root = OpenCgroupRoot();
  if (!root) return errno;
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = attach_type;
  const UniqueFd program(bpf_prog_load(program_type, "tributary_probe", "GPL", kReturnOne, 2, &options));
  if (!program) return errno;
  const UniqueFd link(bpf_link_create(program.get(), root.get(), attach_type, nullptr));
  return link ? 0 : errno;
}

int ProbePerf(const Backend &backend) {
  const bpf_prog_type type =
      backend.means == Means::kClassicTracepoint ? BPF_PROG_TYPE_TRACEPOINT : BPF_PROG_TYPE_KPROBE;
  const UniqueFd program(bpf_prog_load(type, "tributary_probe", "GPL", kReturnZero, 2, nullptr));
  if (!program) return errno;
  const UniqueFd event = OpenPerfEvent(backend);
  return event && ioctl(event.get(), PERF_EVENT_IOC_SET_BPF, program.get()) == 0 ? 0 : errno;
}

bool HasCapability(unsigned number) {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[number / 32].effective >> (number % 32)) & 1;
}

}  // namespace

int ProbeBackend(const Backend &backend) {
  if (backend.IsOfCgroup()) return ProbeCgroup(backend);
  if (backend.IsOfPerf()) return ProbePerf(backend);
  const bpf_attach_type type = AttachType(backend.means);
  const int btf_id = libbpf_find_vmlinux_btf_id(backend.target, type);
  if (btf_id < 0) return -btf_id;

  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = type;
  options.attach_btf_id = static_cast<__u32>(btf_id);
  const UniqueFd program(bpf_prog_load(BPF_PROG_TYPE_TRACING, "tributary_probe", "GPL", kReturnZero, 2, &options));
  if (!program) return errno;

  // Such an iterator attaches to one map, which the probe does not have; the real attach has the last word.
  if (backend.map) return 0;
  const UniqueFd link(backend.means == Means::kIterator ? bpf_link_create(program.get(), 0, BPF_TRACE_ITER, nullptr)
                                                        : bpf_raw_tracepoint_open(nullptr, program.get()));
  return link ? 0 : errno;
}

const char *FindMissingPrivilege() {
  if (access("/sys/kernel/btf/vmlinux", R_OK) != 0)
    return "this kernel has no type information: /sys/kernel/btf/vmlinux is missing or unreadable; run a kernel built "
           "with "
           "CONFIG_DEBUG_INFO_BTF (Debian 11, Ubuntu 20.10 and later have it)";
  if (HasCapability(CAP_SYS_ADMIN)) return "";
  if (!HasCapability(CAP_BPF) || !HasCapability(CAP_PERFMON))
    return "loading eBPF programs needs CAP_BPF and CAP_PERFMON: run as root, or give the program both capabilities";
  return "";
}

}  // namespace tributary
