#pragma once

// Reads the kernel's ring buffer. A record is a u32 header (bit 31: still being written, bit 30: discarded, the rest:
// length), a u32 for the kernel, and the data; records are 8-byte aligned, so the data of one may wrap and its header
// does not.

#include <cstddef>
#include <cstdint>

namespace tributary {

class RingReader {
 public:
  RingReader() = default;
  RingReader(const RingReader &) = delete;
  ~RingReader();

  /** Maps the ring; `bytes` is its max_entries. Returns 0 or errno. */
  int Open(int map_fd, size_t bytes);

  /** Copies whole records to `target` while they fit; returns the bytes written. Consumed means copied. */
  size_t DrainInto(uint8_t *target, size_t capacity);

  /** Waits until something can be read, at most `timeout_ms`. Returns whether there is something. */
  bool Wait(int timeout_ms) const;

  uint64_t PendingBytes() const;
  /** Of the ring: records with their headers, discarded ones included. */
  uint64_t DrainedBytes() const { return *consumer_position_; }
  uint64_t drained_records() const { return drained_records_; }

 private:
  void CopyFrom(uint64_t position, uint8_t *target, size_t length) const;

  int epoll_fd_ = -1;
  size_t bytes_ = 0;
  size_t page_bytes_ = 0;
  uint64_t *consumer_position_ = nullptr;
  const uint64_t *producer_position_ = nullptr;
  const uint8_t *data_ = nullptr;
  uint64_t drained_records_ = 0;
};

}  // namespace tributary
