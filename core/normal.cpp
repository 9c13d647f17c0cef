// RandomStream::fill_normal: Box-Muller in float over many Philox blocks at once, written so that compilers vectorise
// it. Only +, -, * and sqrt are used, each an IEEE operation, so the bits do not depend on a maths library or on vector
// width.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>

#include "core/random.hpp"

namespace soup {

namespace {

constexpr std::size_t lanes = 64;  // Philox blocks at a time: four normals each
using Words = std::array<std::uint32_t, lanes>;
using Floats = std::array<float, lanes>;

// Philox4x32-10 on `lanes` consecutive blocks; as philox4x32, in structure-of-arrays form.
inline void philox_lanes(std::uint64_t first_block, std::uint64_t counter, std::uint64_t key,
                         std::array<Words, 4>& out) {
  for (std::size_t i = 0; i < lanes; ++i) {
    out[0][i] = static_cast<std::uint32_t>(first_block + i);
    out[1][i] = static_cast<std::uint32_t>((first_block + i) >> 32U);
    out[2][i] = static_cast<std::uint32_t>(counter);
    out[3][i] = static_cast<std::uint32_t>(counter >> 32U);
  }
  auto key0 = static_cast<std::uint32_t>(key);
  auto key1 = static_cast<std::uint32_t>(key >> 32U);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < lanes; ++i) {
      const std::uint64_t product0 = std::uint64_t{0xD2511F53} * out[0][i];
      const std::uint64_t product1 = std::uint64_t{0xCD9E8D57} * out[2][i];
      out[0][i] = static_cast<std::uint32_t>(product1 >> 32U) ^ out[1][i] ^ key0;
      out[2][i] = static_cast<std::uint32_t>(product0 >> 32U) ^ out[3][i] ^ key1;
      out[1][i] = static_cast<std::uint32_t>(product1);
      out[3][i] = static_cast<std::uint32_t>(product0);
    }
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
}

// sqrt(-2 ln u) for u = (word's upper 24 bits + 1/2) / 2^24, never 0 or 1. Logarithm by the polynomial of Cephes' logf
// (Moshier 1989).
inline float radius(std::uint32_t word) {
  const float u = (static_cast<float>(word >> 8U) + 0.5F) * 0x1p-24F;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(u);
  // Mantissa in [sqrt(1/2), sqrt(2)), exponent to match.
  const std::uint32_t shifted = bits - 0x3F3504F3U;
  const auto exponent = static_cast<float>(static_cast<std::int32_t>(shifted) >> 23);
  const float x = std::bit_cast<float>((shifted & 0x007FFFFFU) + 0x3F3504F3U) - 1.0F;
  float p = 7.0376836292E-2F;
  p = p * x - 1.1514610310E-1F;
  p = p * x + 1.1676998740E-1F;
  p = p * x - 1.2420140846E-1F;
  p = p * x + 1.4249322787E-1F;
  p = p * x - 1.6668057665E-1F;
  p = p * x + 2.0000714765E-1F;
  p = p * x - 2.4999993993E-1F;
  p = p * x + 3.3333331174E-1F;
  const float square = x * x;
  const float log_mantissa = x + (x * square * p - 0.5F * square);
  const float log_u = log_mantissa + exponent * 0.693147180559945F;
  return std::sqrt(-2.0F * log_u);
}

// cos and sin of 2 pi * word / 2^32: exact reduction to an eighth of a turn, then the polynomials of Cephes' sinf and
// cosf.
inline void turn(std::uint32_t word, float& cosine, float& sine) {
  const std::uint32_t quarter = (word + 0x20000000U) >> 30U;
  const auto rest = static_cast<std::int32_t>(word - (quarter << 30U));  // in [-2^29, 2^29]
  const float angle = static_cast<float>(rest) * (1.5707963267948966F * 0x1p-30F);
  const float z = angle * angle;
  const float s = ((-1.9515295891E-4F * z + 8.3321608736E-3F) * z - 1.6666654611E-1F) * z * angle + angle;
  const float c =
      ((2.443315711809948E-5F * z - 1.388731625493765E-3F) * z + 4.166664568298827E-2F) * z * z - 0.5F * z + 1.0F;
  const bool swap = (quarter & 1U) != 0;
  const float cosine_size = swap ? s : c;
  const float sine_size = swap ? c : s;
  cosine = (quarter == 1 || quarter == 2) ? -cosine_size : cosine_size;
  sine = (quarter == 2 || quarter == 3) ? -sine_size : sine_size;
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
__attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#endif
void normal_lanes(std::uint64_t first_block, std::uint64_t counter, std::uint64_t key, float* out) {
  std::array<Words, 4> words;
  philox_lanes(first_block, counter, key, words);
  std::array<Floats, 4> normals;
  for (std::size_t pair = 0; pair < 4; pair += 2) {
    for (std::size_t i = 0; i < lanes; ++i) {
      float cosine = 0.0F;
      float sine = 0.0F;
      turn(words[pair + 1][i], cosine, sine);
      const float length = radius(words[pair][i]);
      normals[pair][i] = length * cosine;
      normals[pair + 1][i] = length * sine;
    }
  }
  for (std::size_t i = 0; i < lanes; ++i) {
    for (std::size_t word = 0; word < 4; ++word) {
      out[4 * i + word] = normals[word][i];
    }
  }
}

}  // namespace

void RandomStream::fill_normal(std::span<float> out) {
  constexpr std::size_t batch = 4 * lanes;
  std::array<float, batch> last;
  while (!out.empty()) {
    float* target = out.size() >= batch ? out.data() : last.data();
    normal_lanes(block_, counter_, key_, target);
    const std::size_t made = std::min(out.size(), batch);
    if (target == last.data()) {
      std::copy_n(last.begin(), made, out.begin());
    }
    block_ += (made + 3) / 4;
    out = out.subspan(made);
  }
  used_ = 4;  // words left over in the block before are not used again
}

}  // namespace soup
