#pragma once

#include <napi.h>

#include <map>
#include <memory>
#include <string>

#include "program_set.h"
#include "ring_reader.h"
#include "ring_waker.h"
#include "walk.h"

namespace tributary {

/** The JavaScript object; its methods are documented in bpf/addon/index.ts. */
class Collector : public Napi::ObjectWrap<Collector> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Collector(const Napi::CallbackInfo &info);

 private:
  Napi::Value Attach(const Napi::CallbackInfo &info);
  Napi::Value Shed(const Napi::CallbackInfo &info);
  void Measure(const Napi::CallbackInfo &info);
  Napi::Value Wait(const Napi::CallbackInfo &info);
  void OnWake(const Napi::CallbackInfo &info);
  Napi::Value DrainInto(const Napi::CallbackInfo &info);
  Napi::Value Iterate(const Napi::CallbackInfo &info);
  Napi::Value ExecutableOf(const Napi::CallbackInfo &info);
  Napi::Value Stats(const Napi::CallbackInfo &info);
  void Close(const Napi::CallbackInfo &info);

  /** Throws when the collector is closed. */
  ProgramSet &RequireOpen(Napi::Env env) const;
  Napi::Array HookStatuses(Napi::Env env) const;

  ProgramOptions options_;
  std::unique_ptr<ProgramSet> programs_;
  std::unique_ptr<RingReader> ring_;
  /** Only once somebody asked for it. */
  std::unique_ptr<RingWaker> waker_;
  /** Passes that were begun and not read to their end, by name. */
  std::map<std::string, std::unique_ptr<Walk>> walks_;
};

}  // namespace tributary
