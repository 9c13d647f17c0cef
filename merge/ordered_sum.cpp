// Sums over a tensor whose bits depend on neither threads nor blocks.
#include "merge/ordered_sum.hpp"

#include <array>

#include "core/error.hpp"
#include "core/simd.hpp"

namespace soup {

namespace {

constexpr std::size_t lanes = 8;

SOUP_SIMD void add_products(const double* a, const double* b, std::size_t count, double* sums) {
  for (std::size_t i = 0; i < count; i += lanes) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      sums[lane] += a[i + lane] * b[i + lane];
    }
  }
}

}  // namespace

double dot(std::span<const double> a, std::span<const double> b) {
  SOUP_REQUIRE(a.size() == b.size(), "a product of vectors of different lengths");
  std::array<double, lanes> sums{};
  const std::size_t whole = a.size() / lanes * lanes;
  add_products(a.data(), b.data(), whole, sums.data());
  for (std::size_t i = whole; i < a.size(); ++i) {
    sums[i - whole] += a[i] * b[i];
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace soup
