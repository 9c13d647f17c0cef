// The k-th largest magnitude of a stream of numbers, exactly and in 16 KiB: a radix selection on the bits of floats.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace soup {

class MagnitudeSelection {
 public:
  // Every pass sees all numbers, in any order and from any thread.
  static constexpr int passes = 3;

  // `keep` >= 1 of the numbers.
  explicit MagnitudeSelection(std::uint64_t keep) : keep_(keep) {}

  void count(int pass, std::span<const double> values);
  void end_pass(int pass);
  // After all passes: whether a value is as large as the keep-th largest. Magnitudes are compared in single precision,
  // and those equal to the keep-th largest are all kept.
  [[nodiscard]] bool keeps(double value) const { return key_of(value) >= threshold_; }

 private:
  // Bits of a float that is not negative order as the float does.
  static std::uint32_t key_of(double value) {
    return std::bit_cast<std::uint32_t>(static_cast<float>(std::abs(value)));
  }

  std::uint64_t keep_;           // still to be found among keys that begin like the threshold
  std::uint32_t threshold_ = 0;  // its leading digits, as far as they are known
  std::vector<std::uint64_t> counts_;
  std::mutex mutex_;
};

}  // namespace soup
