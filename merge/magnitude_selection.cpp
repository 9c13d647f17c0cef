// The k-th largest magnitude of a stream of numbers: a radix selection on the bits of floats.
#include "merge/magnitude_selection.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"

namespace soup {

namespace {

struct Digit {
  int shift = 0;
  int bits = 0;
};
// The 31 bits below the sign, the leading ones first.
constexpr std::array<Digit, MagnitudeSelection::passes> digits{{{20, 11}, {10, 10}, {0, 10}}};

}  // namespace

void MagnitudeSelection::count(int pass, std::span<const double> values) {
  const Digit digit = digits.at(static_cast<std::size_t>(pass));
  const int known = digit.shift + digit.bits;  // the bits from here on are those of the threshold
  std::vector<std::uint64_t> counts(std::size_t{1} << digit.bits, 0);
  for (const double value : values) {
    const std::uint32_t key = key_of(value);
    if (key >> known == threshold_ >> known) {
      ++counts[(key >> digit.shift) & ((1U << digit.bits) - 1U)];
    }
  }
  const std::scoped_lock lock(mutex_);
  counts_.resize(counts.size(), 0);
  std::ranges::transform(counts_, counts, counts_.begin(), std::plus<>());
}

void MagnitudeSelection::end_pass(int pass) {
  for (std::size_t value = counts_.size(); value > 0; --value) {
    if (counts_[value - 1] >= keep_) {
      threshold_ |= static_cast<std::uint32_t>(value - 1) << digits.at(static_cast<std::size_t>(pass)).shift;
      counts_.clear();
      return;
    }
    keep_ -= counts_[value - 1];
  }
  SOUP_REQUIRE(counts_.empty(), "fewer numbers than are to be kept");  // an empty tensor has none
}

}  // namespace soup
