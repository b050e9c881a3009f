// What the reducer asks of the kernel that Node has no call for.

#include "addon.h"

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) {
  exports.Set("advise", Napi::Function::New(env, tributary::Advise));
  exports.Set("duplicate", Napi::Function::New(env, tributary::Duplicate));
  return exports;
}

NODE_API_MODULE(reducer, InitAddon)
