#pragma once

// Reads the kernel's ring buffer. A record is a u32 header (bit 31: still being written, bit 30: discarded, the rest:
// length), a u32 for the kernel, and the data; records are 8-byte aligned, so the data of one may wrap and its header
// does not. Every page that is mapped counts as resident memory, touched or not, so what is mapped is one piece of the
// ring, where the next record is.

#include <cstddef>
#include <cstdint>

namespace tributary {

class RingReader {
 public:
  RingReader() = default;
  RingReader(const RingReader &) = delete;
  ~RingReader();

  /** `map_fd`: open for as long as the reader is used. `bytes`: its max_entries. Returns 0 or errno. */
  int Open(int map_fd, size_t bytes);

  /**
   * Copies whole records to `target` while they fit; returns the bytes written. Consumed means copied. When the kernel
   * has no memory to map a piece of the ring, its records wait for the next call.
   */
  size_t DrainInto(uint8_t *target, size_t capacity);

  /** Waits until something can be read, at most `timeout_ms`. Returns whether there is something. */
  bool Wait(int timeout_ms) const;

  uint64_t PendingBytes() const;
  /** Of the ring: records with their headers, discarded ones included. */
  uint64_t DrainedBytes() const { return *consumer_position_; }
  uint64_t drained_records() const { return drained_records_; }

 private:
  /** Address of the byte at `position`, with the rest of its piece behind it; null when the piece cannot be mapped. */
  const uint8_t *At(uint64_t position);
  /** False when a piece cannot be mapped. */
  bool CopyFrom(uint64_t position, uint8_t *target, size_t length);

  int map_fd_ = -1;
  int epoll_fd_ = -1;
  size_t bytes_ = 0;
  size_t page_bytes_ = 0;
  uint64_t *consumer_position_ = nullptr;
  const uint64_t *producer_position_ = nullptr;
  /** The piece that is mapped, of `piece_bytes_`, and where in the ring it begins. */
  const uint8_t *piece_ = nullptr;
  size_t piece_bytes_ = 0;
  size_t piece_offset_ = 0;
  uint64_t drained_records_ = 0;
};

}  // namespace tributary
