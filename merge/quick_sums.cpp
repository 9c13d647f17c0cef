// Loops over the integer sums of small weights: every value is rounded, added, divided and rounded again in registers.
#include "merge/quick_sums.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "core/error.hpp"
#include "core/simd.hpp"
#include "merge/fixed_point.hpp"
#include "merge/narrow_floats.hpp"
#include "merge/rounding.hpp"

namespace soup {

namespace {

// Results converted before they are copied to bytes that the compiler cannot tell from the sums.
constexpr std::size_t cached_results = 1024;

struct Floats {
  static float at(const std::byte* bytes, std::size_t i) { return load<float>(bytes + 4 * i); }
};

struct Halves {
  static float at(const std::byte* bytes, std::size_t i) { return float_of_half(load<std::uint16_t>(bytes + 2 * i)); }
};

struct Bfloats {
  static float at(const std::byte* bytes, std::size_t i) { return float_of_bfloat(load<std::uint16_t>(bytes + 2 * i)); }
};

// The magnitude's bits, which order as magnitudes do, with Inf and NaN above all numbers.
inline std::int32_t magnitude_bits(float value) {
  return std::bit_cast<std::int32_t>(value) & std::numeric_limits<std::int32_t>::max();
}

// What add_together does with the sums that are there.
enum class Sums { fresh, running, taken_off };

// Adds the rounded values of N terms, or takes them off again, and finds the largest magnitude of each. `unit_shifter`
// is the shifter (merge/rounding.hpp) times the unit 2^-scale_bits: added to a value it leaves the same integer as the
// shifter does in the value times 2^scale_bits, for powers of two change no rounding. It stays in what is summed, and
// is taken off once. For values that are too large what is added means nothing, but taking it off restores the sums.
template <typename Format, std::size_t N, Sums Kind>
[[gnu::always_inline]] inline void add_together(const std::byte* const* from, std::size_t count, double unit_shifter,
                                                std::int64_t* __restrict sums, float* largest) {
  const std::uint64_t surplus = N * std::bit_cast<std::uint64_t>(unit_shifter);
  std::array<const std::byte*, N> terms;
  std::copy_n(from, N, terms.begin());
  std::array<std::int32_t, N> most{};
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t sum = 0;
    for (std::size_t term = 0; term < N; ++term) {
      const float value = Format::at(terms[term], i);
      most[term] = std::max(most[term], magnitude_bits(value));
      sum += std::bit_cast<std::uint64_t>(static_cast<double>(value) + unit_shifter);
    }
    const std::uint64_t before = Kind == Sums::fresh ? 0 : static_cast<std::uint64_t>(sums[i]);
    sums[i] = static_cast<std::int64_t>(Kind == Sums::taken_off ? before - (sum - surplus) : before + (sum - surplus));
  }
  for (std::size_t term = 0; term < N; ++term) {
    largest[term] = std::bit_cast<float>(most[term]);
  }
}

template <typename Format>
[[gnu::always_inline]] inline void add_as(std::size_t terms, Sums kind, const std::byte* const* from, std::size_t count,
                                          double unit_shifter, std::int64_t* sums, float* largest) {
  const bool two = terms == 2;
  switch (kind) {
    case Sums::fresh:
      return two ? add_together<Format, 2, Sums::fresh>(from, count, unit_shifter, sums, largest)
                 : add_together<Format, 4, Sums::fresh>(from, count, unit_shifter, sums, largest);
    case Sums::running:
      return two ? add_together<Format, 2, Sums::running>(from, count, unit_shifter, sums, largest)
                 : add_together<Format, 4, Sums::running>(from, count, unit_shifter, sums, largest);
    case Sums::taken_off:
      return two ? add_together<Format, 2, Sums::taken_off>(from, count, unit_shifter, sums, largest)
                 : add_together<Format, 4, Sums::taken_off>(from, count, unit_shifter, sums, largest);
  }
}

SOUP_SIMD void add_floats(std::size_t terms, Sums kind, const std::byte* const* from, std::size_t count,
                          double unit_shifter, std::int64_t* sums, float* largest) {
  add_as<Floats>(terms, kind, from, count, unit_shifter, sums, largest);
}

SOUP_SIMD void add_halves(std::size_t terms, Sums kind, const std::byte* const* from, std::size_t count,
                          double unit_shifter, std::int64_t* sums, float* largest) {
  add_as<Halves>(terms, kind, from, count, unit_shifter, sums, largest);
}

SOUP_SIMD void add_bfloats(std::size_t terms, Sums kind, const std::byte* const* from, std::size_t count,
                           double unit_shifter, std::int64_t* sums, float* largest) {
  add_as<Bfloats>(terms, kind, from, count, unit_shifter, sums, largest);
}

// Converts count <= cached_results sums; false when one is not in [-2^51, 2^51). With Exact the divisor is a power of
// two: dividing by it and scaling by `unit` are both exact, and one multiplication gives the same bits.
template <bool Exact, typename T, typename Convert>
[[gnu::always_inline]] inline bool convert_strip(const std::int64_t* sums, std::size_t count, double divisor,
                                                 double unit, Convert convert, std::byte* out) {
  const double both = unit / divisor;
  std::uint64_t high = 0;
  std::array<T, cached_results> results;
  for (std::size_t i = 0; i < count; ++i) {
    high |= static_cast<std::uint64_t>(sums[i]) + (std::uint64_t{1} << 51);  // [-2^51, 2^51) becomes [0, 2^52)
    const double sum = std::bit_cast<double>(static_cast<std::uint64_t>(sums[i]) + shifter_bits) - shifter;
    results[i] = convert(Exact ? sum * both : sum / divisor * unit);
  }
  std::memcpy(out, results.data(), count * sizeof(T));
  return high >> 52 == 0;
}

template <typename T, typename Convert>
[[gnu::always_inline]] inline bool convert_all(std::span<const std::int64_t> sums, double divisor, double unit,
                                               Convert convert, std::byte* out) {
  const bool exact = std::has_single_bit(static_cast<std::uint64_t>(divisor));
  bool small = true;
  for (std::size_t begin = 0; begin < sums.size() && small; begin += cached_results) {
    const std::size_t count = std::min(cached_results, sums.size() - begin);
    const std::int64_t* const from = sums.data() + begin;
    std::byte* const to = out + begin * sizeof(T);
    small = exact ? convert_strip<true, T>(from, count, divisor, unit, convert, to)
                  : convert_strip<false, T>(from, count, divisor, unit, convert, to);
  }
  return small;
}

SOUP_SIMD bool finish_floats(std::span<const std::int64_t> sums, double divisor, double unit, std::byte* out) {
  return convert_all<float>(
      sums, divisor, unit, [](double value) { return static_cast<float>(value); }, out);
}

SOUP_SIMD bool finish_halves(std::span<const std::int64_t> sums, double divisor, double unit, std::byte* out) {
  return convert_all<std::uint16_t>(
      sums, divisor, unit, [](double value) { return Half::of(value); }, out);
}

// The least magnitude but zero is 2^-52 / 2^53, the largest 2^51 / 2: normal values all.
SOUP_SIMD bool finish_bfloats(std::span<const std::int64_t> sums, double divisor, double unit, std::byte* out) {
  return convert_all<std::uint16_t>(
      sums, divisor, unit, [](double value) { return bfloat_of_normal(value); }, out);
}

bool any_infinite(std::span<const std::byte> halves) {
  bool infinite = false;
  for (std::size_t i = 0; i < halves.size(); i += 2) {
    infinite |= (load<std::uint16_t>(halves.data() + i) & 0x7fffU) == Half::infinity;
  }
  return infinite;
}

}  // namespace

bool accumulate_quickly(DType dtype, std::span<const std::span<const std::byte>> terms, std::int64_t total_weight,
                        int scale_bits, std::span<std::int64_t> sums, std::span<double> largest, bool fresh) {
  require_valid_scale(scale_bits, total_weight);
  SOUP_REQUIRE(terms.size() == 2 || terms.size() == 4, fmt::format("{} terms at once", terms.size()));
  SOUP_REQUIRE(dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16, "terms of another type");
  const std::size_t bytes = sums.size() * size_of(dtype);
  SOUP_REQUIRE(std::ranges::all_of(terms, [&](const auto& term) { return term.size() == bytes; }),
               "terms of another size than their sums");
  const double unit = 1.0 / static_cast<double>(std::uint64_t{1} << scale_bits);
  std::array<const std::byte*, 4> from{};
  std::ranges::transform(terms, from.begin(), [](const auto& term) { return term.data(); });
  std::array<float, 4> found{};
  const auto add = [&](Sums kind) {
    const auto loop = dtype == DType::f32 ? add_floats : dtype == DType::f16 ? add_halves : add_bfloats;
    loop(terms.size(), kind, from.data(), sums.size(), shifter * unit, sums.data(), found.data());
  };
  add(fresh ? Sums::fresh : Sums::running);
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const bool quick = static_cast<double>(found[i]) < 0x1p51 * unit;  // false for NaN
    if (!quick || !is_in_range(found[i], total_weight, scale_bits)) {
      add(Sums::taken_off);
      return false;
    }
    largest[i] = found[i];
  }
  return true;
}

bool finish_quickly(DType dtype, std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits,
                    std::span<std::byte> out) {
  require_valid_scale(scale_bits, total_weight);
  SOUP_REQUIRE(out.size() == sums.size() * size_of(dtype), "sums into a buffer of another size");
  const auto divisor = static_cast<double>(total_weight);
  const double unit = 1.0 / static_cast<double>(std::uint64_t{1} << scale_bits);
  switch (dtype) {
    case DType::f32:
      return finish_floats(sums, divisor, unit, out.data());
    case DType::f16:
      return finish_halves(sums, divisor, unit, out.data()) && !any_infinite(out);
    case DType::bf16:
      return finish_bfloats(sums, divisor, unit, out.data());
    default:
      return false;
  }
}

}  // namespace soup
