// Another descriptor of a socket. A connection that one thread of Node has accepted is read by another through it, when
// the first closes its own.

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "addon.h"

namespace tributary {

Napi::Value Duplicate(const Napi::CallbackInfo &info) {
  if (!info[0].IsNumber()) throw Napi::TypeError::New(info.Env(), "descriptor must be a number");
  const int copy = fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw Napi::Error::New(info.Env(), strerror(errno));
  return Napi::Number::New(info.Env(), copy);
}

}  // namespace tributary
