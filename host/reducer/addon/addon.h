#pragma once

#include <napi.h>

namespace tributary {

/** `advise(buffer: ArrayBuffer): boolean`: huge pages for all that the memory can grow to. False when the kernel
 * refuses. */
Napi::Value Advise(const Napi::CallbackInfo &info);

/** `duplicate(descriptor: number): number`: another descriptor of the same open file, closed on exec (fcntl(2)). Throws
 * what the kernel says. */
Napi::Value Duplicate(const Napi::CallbackInfo &info);

}  // namespace tributary
