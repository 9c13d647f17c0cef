// How a soup keeps its integer sums beside its weights, so that ingredients can be added and removed.
#include "merge/accumulator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "core/simd.hpp"
#include "merge/rounding.hpp"

namespace soup {

namespace {

// Writes the rests, and returns whether all fit.
SOUP_SIMD bool take_rests(const std::int64_t* sums, const float* soup, std::size_t count, double factor,
                          std::int32_t* rests) {
  std::int64_t outside = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t rest = sums[i] - round_any(static_cast<double>(soup[i]) * factor);
    rests[i] = static_cast<std::int32_t>(rest);
    outside |= rest ^ rests[i];
  }
  return outside == 0;
}

SOUP_SIMD void add_rests(const std::int32_t* rests, const float* soup, std::size_t count, double factor,
                         std::int64_t* sums) {
  for (std::size_t i = 0; i < count; ++i) {
    sums[i] = round_any(static_cast<double>(soup[i]) * factor) + rests[i];
  }
}

double factor_of(std::int64_t total_weight, int scale_bits) {
  SOUP_REQUIRE(total_weight >= 1 && total_weight <= most_compact_weight,
               fmt::format("a compact accumulator at total weight {}", total_weight));
  return std::ldexp(static_cast<double>(total_weight), scale_bits);
}

}  // namespace

std::string_view name_of(AccumulatorKind kind) {
  switch (kind) {
    case AccumulatorKind::none:
      return "none";
    case AccumulatorKind::compact:
      return "compact";
    case AccumulatorKind::wide:
      return "wide";
  }
  throw InvariantError("an accumulator outside the enumeration");
}

AccumulatorKind accumulator_kind(std::string_view name) {
  for (const AccumulatorKind kind : {AccumulatorKind::none, AccumulatorKind::compact, AccumulatorKind::wide}) {
    if (name == name_of(kind)) {
      return kind;
    }
  }
  throw ConfigError(fmt::format("accumulator \"{}\" is none of none, compact and wide", name));
}

AccumulatorKind usable_kind(AccumulatorKind kind, std::int64_t total_weight, bool weights_are_f32) {
  const bool can_be_compact = weights_are_f32 && total_weight <= most_compact_weight;
  return kind == AccumulatorKind::compact && !can_be_compact ? AccumulatorKind::wide : kind;
}

DType dtype_of(AccumulatorKind kind) {
  SOUP_REQUIRE(kind != AccumulatorKind::none, "the type of no accumulator");
  return kind == AccumulatorKind::compact ? DType::i32 : DType::i64;
}

void encode_rests(std::span<const std::int64_t> sums, std::span<const float> soup, std::int64_t total_weight,
                  int scale_bits, std::string_view tensor, std::uint64_t first, std::span<std::int32_t> rests) {
  SOUP_REQUIRE(sums.size() == soup.size() && sums.size() == rests.size(), "rests of another size");
  const double factor = factor_of(total_weight, scale_bits);
  if (take_rests(sums.data(), soup.data(), sums.size(), factor, rests.data())) {
    return;
  }
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::int64_t rest = sums[i] - round_any(static_cast<double>(soup[i]) * factor);
    if (rest != static_cast<std::int32_t>(rest)) {
      throw DataError(std::string(tensor),
                      fmt::format("element {} is {:.9g}, too large for a compact accumulator at total weight {}",
                                  first + i, soup[i], total_weight),
                      "--accumulator wide keeps sums of any size");
    }
  }
}

void decode_rests(std::span<const std::int32_t> rests, std::span<const float> soup, std::int64_t total_weight,
                  int scale_bits, std::span<std::int64_t> sums) {
  SOUP_REQUIRE(sums.size() == soup.size() && sums.size() == rests.size(), "rests of another size");
  add_rests(rests.data(), soup.data(), sums.size(), factor_of(total_weight, scale_bits), sums.data());
}

}  // namespace soup
