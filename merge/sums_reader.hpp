// The integer sums of a finished soup, block by block: what its accumulator keeps, checked against its weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "merge/block_loop.hpp"
#include "merge/soup_writer.hpp"
#include "merge/weights.hpp"

namespace soup {

// A finished soup to start from: its accumulator, and its weights, which must be what the accumulator gives.
struct SumStart {
  const Weights* accumulator = nullptr;
  const Weights* soup = nullptr;
  SoupScale scale;
};

// Buffers of one thread.
class SumsReader {
 public:
  // `start` may be null where nothing is read.
  explicit SumsReader(const SumStart* start) : start_(start) {}

  // Reads tensor number `soup` of the soup and `kept` of the accumulator, which have the same name and shape. Throws
  // DataError for types that no accumulator has, and for sums that do not give the weights to the bit.
  void read(std::size_t soup, std::size_t kept, const Block& block);

  // Of the block read last.
  [[nodiscard]] std::span<const std::int64_t> sums() const { return sums_; }
  [[nodiscard]] std::span<const std::byte> soup() const { return soup_; }
  [[nodiscard]] std::span<const std::byte> kept() const { return kept_; }

 private:
  const SumStart* start_;
  std::vector<std::int64_t> sums_;
  std::vector<std::byte> soup_;
  std::vector<std::byte> kept_;
  std::vector<std::byte> again_;
};

}  // namespace soup
