#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <napi.h>
#include <sys/timex.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "arguments.h"
#include "collector.h"
#include "probe.h"
#include "resident_memory.h"
#include "unique_fd.h"

namespace tributary {
namespace {

Napi::Value Probe(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const Napi::Object result = Napi::Object::New(env);
  const Napi::Array backends = Napi::Array::New(env);
  const std::string missing = FindMissingPrivilege();
  for (const Hook &hook : Hooks()) {
    for (const Backend &backend : hook.backends) {
      const int error = ProbeBackend(backend);
      const Napi::Object item = Napi::Object::New(env);
      item.Set("hook", hook.name);
      item.Set("backend", std::string(backend.MeansName()) + "/" + backend.target);
      item.Set("supported", error == 0);
      if (error != 0) item.Set("error", strerror(error));
      backends.Set(backends.Length(), item);
    }
  }
  if (!missing.empty()) result.Set("missing", missing);
  result.Set("backends", backends);
  return result;
}

// The running kernel's numbers: an enumeration may differ between kernels.
Napi::Value ReadKernelEnum(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const std::string name = RequireString(info[0], "name");
  const Napi::Object values = Napi::Object::New(env);
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__load_vmlinux_btf(), btf__free);
  const int id = types ? btf__find_by_name_kind(types.get(), name.c_str(), BTF_KIND_ENUM) : -errno;
  if (id < 0) return values;
  const btf_type *type = btf__type_by_id(types.get(), static_cast<__u32>(id));
  const struct btf_enum *members = btf_enum(type);
  for (int i = 0; i < btf_vlen(type); i++)
    values.Set(btf__name_by_offset(types.get(), members[i].name_off), static_cast<uint32_t>(members[i].val));
  return values;
}

Napi::Value ListPrograms(const Napi::CallbackInfo &info) {
  const Napi::Array result = Napi::Array::New(info.Env());
  __u32 id = 0;
  while (bpf_prog_get_next_id(id, &id) == 0) {
    const UniqueFd fd(bpf_prog_get_fd_by_id(id));
    bpf_prog_info program = {};
    __u32 bytes = sizeof(program);
    if (!fd || bpf_obj_get_info_by_fd(fd.get(), &program, &bytes) != 0) continue;  // unloaded meanwhile
    const Napi::Object item = Napi::Object::New(info.Env());
    item.Set("id", id);
    item.Set("name", program.name);
    item.Set("runNs", static_cast<double>(program.run_time_ns));
    item.Set("runCount", static_cast<double>(program.run_cnt));
    result.Set(result.Length(), item);
  }
  return result;
}

// Reads only: with modes 0 adjtimex changes nothing and needs no privilege.
Napi::Value ClockState(const Napi::CallbackInfo &info) {
  timex state = {};
  const int result = adjtimex(&state);
  if (result < 0) throw Napi::Error::New(info.Env(), std::string("adjtimex: ") + strerror(errno));
  const Napi::Object clock = Napi::Object::New(info.Env());
  clock.Set("synchronized", result != TIME_ERROR && (state.status & STA_UNSYNC) == 0);
  clock.Set("maxErrorUs", static_cast<double>(state.maxerror));
  return clock;
}

void CallTrimHeap(const Napi::CallbackInfo &) { TrimHeap(); }

void CallDropFilePages(const Napi::CallbackInfo &) { DropFilePages(); }

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("probe", Napi::Function::New(env, Probe));
  exports.Set("readKernelEnum", Napi::Function::New(env, ReadKernelEnum));
  exports.Set("clockState", Napi::Function::New(env, ClockState));
  exports.Set("listPrograms", Napi::Function::New(env, ListPrograms));
  exports.Set("trimHeap", Napi::Function::New(env, CallTrimHeap));
  exports.Set("dropFilePages", Napi::Function::New(env, CallDropFilePages));
  exports.Set("Collector", Collector::Define(env));
  return exports;
}

}  // namespace
}  // namespace tributary

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return tributary::Init(env, exports); }
NODE_API_MODULE(tributary_bpf, InitAddon)
