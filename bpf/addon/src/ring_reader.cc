#include "ring_reader.h"

#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tributary {

int RingReader::Open(int map_fd, size_t bytes) {
  page_bytes_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  bytes_ = bytes;
  void *consumer = mmap(nullptr, page_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (consumer == MAP_FAILED) return errno;
  consumer_position_ = static_cast<uint64_t *>(consumer);
  // The kernel would map the data twice in a row, for records that wrap, and both count as resident memory, touched or
  // not.
  void *producer = mmap(nullptr, page_bytes_ + bytes_, PROT_READ, MAP_SHARED, map_fd, static_cast<off_t>(page_bytes_));
  if (producer == MAP_FAILED) return errno;
  producer_position_ = static_cast<const uint64_t *>(producer);
  data_ = static_cast<const uint8_t *>(producer) + page_bytes_;

  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {};
  event.events = EPOLLIN;
  if (epoll_fd_ < 0 || epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, map_fd, &event) != 0) return errno;
  return 0;
}

RingReader::~RingReader() {
  if (epoll_fd_ >= 0) close(epoll_fd_);
  if (producer_position_) munmap(const_cast<uint64_t *>(producer_position_), page_bytes_ + bytes_);
  if (consumer_position_) munmap(consumer_position_, page_bytes_);
}

size_t RingReader::DrainInto(uint8_t *target, size_t capacity) {
  const uint64_t producer = __atomic_load_n(producer_position_, __ATOMIC_ACQUIRE);
  uint64_t consumer = *consumer_position_;
  size_t written = 0;
  while (consumer < producer) {
    const uint8_t *record = data_ + (consumer & (bytes_ - 1));
    const uint32_t header = __atomic_load_n(reinterpret_cast<const uint32_t *>(record), __ATOMIC_ACQUIRE);
    if (header & BPF_RINGBUF_BUSY_BIT) break;
    const uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
      if (length > capacity - written) break;
      CopyFrom(consumer + BPF_RINGBUF_HDR_SZ, target + written, length);
      written += length;
      drained_records_++;
    }
    consumer += (length + BPF_RINGBUF_HDR_SZ + 7) & ~uint64_t{7};
  }
  __atomic_store_n(consumer_position_, consumer, __ATOMIC_RELEASE);
  return written;
}

void RingReader::CopyFrom(uint64_t position, uint8_t *target, size_t length) const {
  const size_t offset = position & (bytes_ - 1);
  const size_t before_end = std::min(length, bytes_ - offset);
  memcpy(target, data_ + offset, before_end);
  memcpy(target + before_end, data_, length - before_end);
}

uint64_t RingReader::PendingBytes() const {
  return __atomic_load_n(producer_position_, __ATOMIC_ACQUIRE) - *consumer_position_;
}

bool RingReader::Wait(int timeout_ms) const {
  epoll_event event;
  if (PendingBytes() == 0) epoll_wait(epoll_fd_, &event, 1, timeout_ms);
  return PendingBytes() > 0;
}

}  // namespace tributary
