#include "core/random.hpp"

#include <cmath>
#include <numbers>

#include "core/digest.hpp"
#include "core/error.hpp"

namespace soup {

namespace {

__extension__ using Uint128 = unsigned __int128;

std::uint32_t low_half(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high_half(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32U);
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  // The multipliers and Weyl increments that Salmon et al. chose for four words of 32 bits.
  constexpr std::uint64_t multiplier0 = 0xD2511F53;
  constexpr std::uint64_t multiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t weyl0 = 0x9E3779B9;
  constexpr std::uint32_t weyl1 = 0xBB67AE85;
  constexpr int round_count = 10;
  for (int round = 0; round < round_count; ++round) {
    const std::uint64_t product0 = multiplier0 * counter[0];
    const std::uint64_t product1 = multiplier1 * counter[2];
    counter = {high_half(product1) ^ counter[1] ^ key[0], low_half(product1), high_half(product0) ^ counter[3] ^ key[1],
               low_half(product0)};
    key[0] += weyl0;
    key[1] += weyl1;
  }
  return counter;
}

std::uint32_t RandomStream::next_u32() {
  if (used_ == 4) {
    words_ = philox4x32({low_half(block_), high_half(block_), low_half(counter_), high_half(counter_)},
                        {low_half(key_), high_half(key_)});
    ++block_;
    used_ = 0;
  }
  return words_[static_cast<std::size_t>(used_++)];
}

std::uint64_t RandomStream::next_u64() {
  const std::uint64_t low = next_u32();
  return low | (std::uint64_t{next_u32()} << 32U);
}

double RandomStream::uniform() {
  return static_cast<double>(next_u64() >> 11U) * 0x1p-53;
}

std::uint64_t RandomStream::below(std::uint64_t bound) {
  SOUP_REQUIRE(bound > 0, "a random number below 0 was asked for");
  Uint128 product = Uint128{next_u64()} * bound;
  if (static_cast<std::uint64_t>(product) < bound) {
    const std::uint64_t threshold = (0 - bound) % bound;  // 2^64 mod bound: what would make small results likelier
    while (static_cast<std::uint64_t>(product) < threshold) {
      product = Uint128{next_u64()} * bound;
    }
  }
  return static_cast<std::uint64_t>(product >> 64U);
}

double RandomStream::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - u is in (0, 1]
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

RandomStream SeedTree::stream(std::string_view purpose, std::string_view scope, std::uint64_t counter) const {
  const Digest name = Sha256()
                          .update_field("soup random stream 1")
                          .update_u64(root_)
                          .update_field(purpose)
                          .update_field(scope)
                          .finish();
  std::uint64_t key = 0;
  for (std::size_t i = 0; i < sizeof(key); ++i) {
    key |= std::uint64_t{name.bytes[i]} << (8 * i);
  }
  return {key, counter};
}

}  // namespace soup
