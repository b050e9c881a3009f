#include "collector.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>

#include "arguments.h"
#include "deferred_ends.h"
#include "event_size.h"
#include "gen/kernel_events.h"

namespace tributary {
namespace {

constexpr uint32_t kRingBytesMin = 64 * 1024;
constexpr uint32_t kRingBytesMax = 1u << 30;
constexpr uint32_t kRingBytesDefault = 8 * 1024 * 1024;
constexpr uint32_t kWakeupBytesDefault = 64 * 1024;
constexpr uint32_t kDatagramIdleMsMin = 1'000;
constexpr uint32_t kProcessKnownMsMax = 60'000;
/** The kernel's own limit is the depth of directories; nobody nests so deep. */
constexpr uint32_t kCgroupLevelMax = 255;
constexpr uint32_t kDatagramIdleMsDefault = 60'000;
/** EVENT_TYPES_MAX of bpf/include/events.h. */
constexpr size_t kEventTypesMax = 16;

/** struct executable_key and struct executable of bpf/include/executables.h. */
struct ExecutableKey {
  uint64_t start_time_ns;
  uint32_t pid;
  uint32_t pad0;
};
struct Executable {
  uint64_t file;
  uint64_t told_ns;
  char name[256];
};

struct EventTypeName {
  size_t type;
  const char *name;
};
/** What goes through the ring, in the words of schemas/kernel-events.fbs. */
constexpr EventTypeName kRingEventTypes[] = {
    {KERNEL_EVENT_TYPE_SOCKET_OPEN, "socketOpen"},       {KERNEL_EVENT_TYPE_SOCKET_CLOSE, "socketClose"},
    {KERNEL_EVENT_TYPE_CONNECT_FAILED, "connectFailed"}, {KERNEL_EVENT_TYPE_SOCKET_ADOPTED, "socketAdopted"},
    {KERNEL_EVENT_TYPE_SOCKET_OWNER, "socketOwner"},     {KERNEL_EVENT_TYPE_DNS_MESSAGE, "dnsMessage"},
};

ProgramOptions ReadOptions(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  ProgramOptions options;
  options.folder = RequireString(info[0], "folder");
  const Napi::Object given =
      info.Length() < 2 || info[1].IsUndefined()
          ? Napi::Object::New(env)
          : RequireOptions(info[1], "options",
                           {"ringBytes", "wakeupBytes", "scopeNetns", "scopeCgroup", "scopeCgroupLevel", "joinKeyHash",
                            "drops", "dns", "datagrams", "datagramIdleMs", "processKnownMs", "object"});
  const auto integer = [&](const char *name, uint32_t fallback, uint32_t min, uint32_t max) {
    const Napi::Value value = given.Get(name);
    return value.IsUndefined() ? fallback : RequireInteger(value, name, min, max);
  };
  options.ring_bytes = integer("ringBytes", kRingBytesDefault, kRingBytesMin, kRingBytesMax);
  if ((options.ring_bytes & (options.ring_bytes - 1)) != 0)
    throw ArgumentError(env, "ringBytes must be a power of two, it is " + std::to_string(options.ring_bytes));
  options.wakeup_bytes = integer("wakeupBytes", kWakeupBytesDefault, 1, options.ring_bytes);
  options.scope_netns = integer("scopeNetns", 0, 0, UINT32_MAX);
  const Napi::Value scope_cgroup = given.Get("scopeCgroup");
  options.scope_cgroup = scope_cgroup.IsUndefined() ? 0 : RequireId(scope_cgroup, "scopeCgroup");
  options.scope_cgroup_level = integer("scopeCgroupLevel", 0, 0, kCgroupLevelMax);
  const auto leave_out = [&](const char *name, Feature feature) {
    if (!given.Get(name).IsUndefined() && !RequireBoolean(given.Get(name), name)) options.left_out.insert(feature);
  };
  leave_out("drops", Feature::kDrops);
  leave_out("dns", Feature::kDns);
  leave_out("datagrams", Feature::kDatagrams);
  options.datagram_idle_ns =
      uint64_t{integer("datagramIdleMs", kDatagramIdleMsDefault, kDatagramIdleMsMin, UINT32_MAX)} * 1'000'000;
  options.process_known_ns = uint64_t{integer("processKnownMs", 0, 0, kProcessKnownMsMax)} * 1'000'000;
  if (!given.Get("object").IsUndefined()) {
    options.object = RequireString(given.Get("object"), "object");
    if (options.object != "btf" && options.object != "kprobe")
      throw ArgumentError(env, "object must be 'btf' or 'kprobe', it is '" + options.object + "'");
  }
  if (!given.Get("joinKeyHash").IsUndefined()) {
    const Bytes key = RequireBytes(given.Get("joinKeyHash"), "joinKeyHash", 16);
    if (key.length != 16)
      throw ArgumentError(env, "joinKeyHash must have 16 bytes, it has " + std::to_string(key.length));
    memcpy(options.join_key_hash, key.data, sizeof(options.join_key_hash));
    options.has_join_key_hash = true;
  }
  return options;
}

}  // namespace

Napi::Function Collector::Define(Napi::Env env) {
  return DefineClass(env, "Collector",
                     {
                         InstanceMethod<&Collector::Attach>("attach"),
                         InstanceMethod<&Collector::Shed>("shed"),
                         InstanceMethod<&Collector::Measure>("measure"),
                         InstanceMethod<&Collector::Wait>("wait"),
                         InstanceMethod<&Collector::OnWake>("onWake"),
                         InstanceMethod<&Collector::DrainInto>("drainInto"),
                         InstanceMethod<&Collector::Iterate>("iterate"),
                         InstanceMethod<&Collector::ExecutableOf>("executableOf"),
                         InstanceMethod<&Collector::Stats>("stats"),
                         InstanceMethod<&Collector::Close>("close"),
                     });
}

Collector::Collector(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Collector>(info), options_(ReadOptions(info)) {
  try {
    programs_ = std::make_unique<ProgramSet>(options_);
  } catch (const std::runtime_error &error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
  ring_ = std::make_unique<RingReader>();
  const int error = ring_->Open(programs_->MapFd("events"), options_.ring_bytes);
  if (error != 0)
    throw Napi::Error::New(info.Env(), std::string("the ring buffer cannot be mapped: ") + strerror(error));
}

ProgramSet &Collector::RequireOpen(Napi::Env env) const {
  if (!programs_) throw Napi::Error::New(env, "the collector is closed");
  return *programs_;
}

Napi::Value Collector::Attach(const Napi::CallbackInfo &info) {
  RequireOpen(info.Env()).Attach();
  return HookStatuses(info.Env());
}

Napi::Value Collector::Shed(const Napi::CallbackInfo &info) {
  ProgramSet &programs = RequireOpen(info.Env());
  if (!info[0].IsArray()) throw ArgumentError(info.Env(), "hooks must be an array of names");
  const Napi::Array names = info[0].As<Napi::Array>();
  std::set<std::string> hooks;
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = RequireString(names.Get(i), "each of hooks");
    const auto &known = programs.hooks();
    const auto hook =
        std::find_if(known.begin(), known.end(), [&](const HookStatus &s) { return name == s.hook->name; });
    if (hook == known.end()) throw ArgumentError(info.Env(), "there is no hook '" + name + "'");
    if (hook->hook->required)
      throw ArgumentError(info.Env(), "without the hook '" + name + "' there is nothing to collect");
    hooks.insert(name);
  }
  programs.Shed(hooks);
  return HookStatuses(info.Env());
}

void Collector::Measure(const Napi::CallbackInfo &info) {
  const int error = RequireOpen(info.Env()).Measure(RequireBoolean(info[0], "isOn"));
  if (error != 0)
    throw Napi::Error::New(info.Env(), std::string("the run time of programs cannot be measured: ") + strerror(error));
}

Napi::Array Collector::HookStatuses(Napi::Env env) const {
  const Napi::Array result = Napi::Array::New(env);
  for (const HookStatus &status : programs_->hooks()) {
    const Napi::Object item = Napi::Object::New(env);
    item.Set("hook", status.hook->name);
    if (status.backend) item.Set("backend", std::string(status.backend->MeansName()) + "/" + status.backend->target);
    item.Set("attached", programs_->FindLink(status.hook->name) != nullptr);
    if (!status.error.empty()) item.Set("error", status.error);
    item.Set("runNs", static_cast<double>(programs_->RunNs(status)));
    item.Set("skips", static_cast<double>(programs_->CountSkips(status)));
    result.Set(result.Length(), item);
  }
  return result;
}

Napi::Value Collector::Wait(const Napi::CallbackInfo &info) {
  RequireOpen(info.Env());
  return Napi::Boolean::New(info.Env(), ring_->Wait(static_cast<int>(RequireInteger(info[0], "timeoutMs", 0, 60'000))));
}

void Collector::OnWake(const Napi::CallbackInfo &info) {
  const ProgramSet &programs = RequireOpen(info.Env());
  if (!info[0].IsFunction()) throw ArgumentError(info.Env(), "callback must be a function");
  waker_.reset();
  waker_ = std::make_unique<RingWaker>();
  const int error = waker_->Start(programs.MapFd("events"), info[0].As<Napi::Function>());
  if (error != 0) throw Napi::Error::New(info.Env(), std::string("the ring cannot be waited for: ") + strerror(error));
}

Napi::Value Collector::DrainInto(const Napi::CallbackInfo &info) {
  RequireOpen(info.Env());
  const Bytes target = RequireBytes(info[0], "target", EVENT_BYTES_MAX);
  return Napi::Number::New(info.Env(), static_cast<double>(ring_->DrainInto(target.data, target.length)));
}

Napi::Value Collector::Iterate(const Napi::CallbackInfo &info) {
  const ProgramSet &programs = RequireOpen(info.Env());
  const std::string name = RequireString(info[0], "name");
  if (name != "deferred" && name != "totals" && name != "live" && name != "owners" && name != "adopt" &&
      name != "drops" && name != "listeners")
    throw ArgumentError(
        info.Env(),
        "name must be 'deferred', 'totals', 'live', 'owners', 'adopt', 'drops' or 'listeners', it is '" + name + "'");
  const Bytes target = RequireBytes(info[1], "target", sizeof(socket_event));
  std::unique_ptr<Walk> &walk = walks_[name];
  try {
    if (name == "deferred") {
      const size_t bytes = TakeDeferredEnds(programs.MapFd("deferred_ends"), target.data, target.length);
      return Napi::Number::New(info.Env(), static_cast<double>(bytes));
    }
    if (!walk) walk = std::make_unique<Walk>(programs, name, options_.scope_netns);
    const size_t bytes = walk->ReadInto(target.data, target.length);
    if (bytes == 0) walk.reset();
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  } catch (const std::runtime_error &error) {
    walk.reset();
    throw Napi::Error::New(info.Env(), error.what());
  }
}

Napi::Value Collector::ExecutableOf(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const ProgramSet &programs = RequireOpen(env);
  const ExecutableKey key = {.start_time_ns = RequireBigInt(info[1], "startTimeNs"),
                             .pid = RequireInteger(info[0], "pid", 1, UINT32_MAX),
                             .pad0 = 0};
  Executable executable;
  if (bpf_map_lookup_elem(programs.MapFd("executables"), &key, &executable) != 0 || executable.name[0] == '\0')
    return env.Undefined();
  return Napi::String::New(env, executable.name, strnlen(executable.name, sizeof(executable.name)));
}

Napi::Value Collector::Stats(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const ProgramSet &programs = RequireOpen(env);
  const volatile uint64_t *lost = programs.FindCounters("events_lost", kEventTypesMax);
  const Napi::Object lost_by_type = Napi::Object::New(env);
  for (const EventTypeName &item : kRingEventTypes) lost_by_type.Set(item.name, static_cast<double>(lost[item.type]));
  const Napi::Object result = Napi::Object::New(env);
  result.Set("eventsLost", lost_by_type);
  result.Set("endsDeferred", static_cast<double>(*programs.FindCounters("ends_deferred", 1)));
  result.Set("statesLost", static_cast<double>(*programs.FindCounters("states_lost", 1)));
  result.Set("changesRescued", static_cast<double>(*programs.FindCounters("changes_rescued", 1)));
  result.Set("openingsRescued", static_cast<double>(*programs.FindCounters("openings_rescued", 1)));
  result.Set("endsRescued", static_cast<double>(*programs.FindCounters("ends_rescued", 1)));
  result.Set("changesMissed", static_cast<double>(*programs.FindCounters("changes_missed", 1)));
  result.Set("dnsUnparsed", static_cast<double>(*programs.FindCounters("dns_unparsed", 1)));
  result.Set("dropsWithoutSocket", static_cast<double>(*programs.FindCounters("drops_without_socket", 1)));
  result.Set("datagramsRefused", static_cast<double>(*programs.FindCounters("datagrams_refused", 1)));
  result.Set("datagramBytesRefused", static_cast<double>(*programs.FindCounters("datagram_bytes_refused", 1)));
  result.Set("dropsLost", static_cast<double>(*programs.FindCounters("drops_lost", 1)));
  result.Set("eventsDrained", static_cast<double>(ring_->drained_records()));
  result.Set("drainedBytes", static_cast<double>(ring_->DrainedBytes()));
  result.Set("pendingBytes", static_cast<double>(ring_->PendingBytes()));
  result.Set("ringBytes", options_.ring_bytes);
  result.Set("object", programs.object_name());
  result.Set("hooks", HookStatuses(env));
  return result;
}

void Collector::Close(const Napi::CallbackInfo &) {
  walks_.clear();
  waker_.reset();
  ring_.reset();
  programs_.reset();
}

}  // namespace tributary
