#include "ring_reader.h"

#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tributary {
namespace {

/** Mapping one takes some microseconds, and it holds more than a thousand events. A power of two. */
constexpr size_t kPieceBytesMax = 256 * 1024;

}  // namespace

int RingReader::Open(int map_fd, size_t bytes) {
  page_bytes_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  map_fd_ = map_fd;
  bytes_ = bytes;
  piece_bytes_ = std::min(bytes, kPieceBytesMax);
  void *consumer = mmap(nullptr, page_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (consumer == MAP_FAILED) return errno;
  consumer_position_ = static_cast<uint64_t *>(consumer);
  void *producer = mmap(nullptr, page_bytes_, PROT_READ, MAP_SHARED, map_fd, static_cast<off_t>(page_bytes_));
  if (producer == MAP_FAILED) return errno;
  producer_position_ = static_cast<const uint64_t *>(producer);
  if (!At(0)) return errno;

  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {};
  event.events = EPOLLIN;
  if (epoll_fd_ < 0 || epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, map_fd, &event) != 0) return errno;
  return 0;
}

RingReader::~RingReader() {
  if (epoll_fd_ >= 0) close(epoll_fd_);
  if (piece_) munmap(const_cast<uint8_t *>(piece_), piece_bytes_);
  if (producer_position_) munmap(const_cast<uint64_t *>(producer_position_), page_bytes_);
  if (consumer_position_) munmap(consumer_position_, page_bytes_);
}

size_t RingReader::DrainInto(uint8_t *target, size_t capacity) {
  const uint64_t producer = __atomic_load_n(producer_position_, __ATOMIC_ACQUIRE);
  uint64_t consumer = *consumer_position_;
  size_t written = 0;
  while (consumer < producer) {
    const uint8_t *record = At(consumer);
    if (!record) break;
    const uint32_t header = __atomic_load_n(reinterpret_cast<const uint32_t *>(record), __ATOMIC_ACQUIRE);
    if (header & BPF_RINGBUF_BUSY_BIT) break;
    const uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
      if (length > capacity - written) break;
      if (!CopyFrom(consumer + BPF_RINGBUF_HDR_SZ, target + written, length)) break;
      written += length;
      drained_records_++;
    }
    consumer += (length + BPF_RINGBUF_HDR_SZ + 7) & ~uint64_t{7};
  }
  __atomic_store_n(consumer_position_, consumer, __ATOMIC_RELEASE);
  return written;
}

const uint8_t *RingReader::At(uint64_t position) {
  const size_t offset = position & (bytes_ - 1);
  const size_t begin = offset & ~(piece_bytes_ - 1);
  if (!piece_ || begin != piece_offset_) {
    if (piece_) munmap(const_cast<uint8_t *>(piece_), piece_bytes_);
    const size_t data_begin = 2 * page_bytes_;
    void *piece = mmap(nullptr, piece_bytes_, PROT_READ, MAP_SHARED, map_fd_, static_cast<off_t>(data_begin + begin));
    piece_ = piece == MAP_FAILED ? nullptr : static_cast<const uint8_t *>(piece);
    piece_offset_ = begin;
  }
  return piece_ ? piece_ + (offset - begin) : nullptr;
}

bool RingReader::CopyFrom(uint64_t position, uint8_t *target, size_t length) {
  while (length > 0) {
    const uint8_t *source = At(position);
    if (!source) return false;
    const size_t in_piece = std::min(length, piece_bytes_ - (position & (piece_bytes_ - 1)));
    memcpy(target, source, in_piece);
    position += in_piece;
    target += in_piece;
    length -= in_piece;
  }
  return true;
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
