#include "ring_waker.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace tributary {

int RingWaker::Start(int map_fd, Napi::Function callback) {
  epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !stop_) return errno;
  epoll_event stop = {};
  stop.events = EPOLLIN;
  stop.data.fd = stop_.get();
  // What waits in the ring without a wakeup is found by a timer: of interest is the edge alone.
  epoll_event ring = {};
  ring.events = EPOLLIN | EPOLLET;
  ring.data.fd = map_fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop_.get(), &stop) != 0 ||
      epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, map_fd, &ring) != 0)
    return errno;
  // A call that waits stands for all that come meanwhile.
  callback_ = Napi::ThreadSafeFunction::New(callback.Env(), callback, "tributary ring", 1, 1);
  callback_.Unref(callback.Env());
  // A process may end without closing anything; what a thread calls must not be gone before the thread is.
  env_ = callback.Env();
  napi_add_env_cleanup_hook(env_, StopAtExit, this);
  thread_ = std::thread(&RingWaker::Run, this);
  return 0;
}

void RingWaker::Run() {
  for (;;) {
    epoll_event event;
    const int count = epoll_wait(epoll_.get(), &event, 1, -1);
    if (count < 0 && errno != EINTR) return;
    if (count <= 0) continue;
    if (event.data.fd == stop_.get()) return;
    if (callback_.NonBlockingCall() == napi_closing) return;
  }
}

void RingWaker::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // An eventfd that nobody reads has room for it.
  [[maybe_unused]] const ssize_t written = write(stop_.get(), &one, sizeof(one));
  thread_.join();
  callback_.Release();
}

RingWaker::~RingWaker() {
  Stop();
  if (env_) napi_remove_env_cleanup_hook(env_, StopAtExit, this);
}

}  // namespace tributary
