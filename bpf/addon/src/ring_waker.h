#pragma once

// Tells JavaScript that the programs woke the reader of the ring. The thread that waits for it sleeps in the kernel:
// Node-API has no way to wait for a descriptor on the thread of JavaScript.

#include <napi.h>

#include <thread>

#include "unique_fd.h"

namespace tributary {

class RingWaker {
 public:
  RingWaker() = default;
  RingWaker(const RingWaker &) = delete;
  ~RingWaker();

  /** `map_fd`: of the ring, open for as long as this lives. `callback` is called without arguments. Returns 0 or errno.
   */
  int Start(int map_fd, Napi::Function callback);

 private:
  void Run();
  void Stop();
  static void StopAtExit(void *waker) { static_cast<RingWaker *>(waker)->Stop(); }

  napi_env env_ = nullptr;
  UniqueFd epoll_;
  /** Readable when the thread has to end. */
  UniqueFd stop_;
  Napi::ThreadSafeFunction callback_;
  std::thread thread_;
};

}  // namespace tributary
