// Named, counter-based random streams: the same (seed, purpose, scope, counter) gives the same numbers everywhere,
// in any order and on any number of ranks, so nothing has to be saved to resume.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace soup {

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.3).
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// One stream: 2^64 blocks of four 32-bit words.
class RandomStream {
 public:
  RandomStream(std::uint64_t key, std::uint64_t counter) : key_(key), counter_(counter) {}

  std::uint32_t next_u32();
  std::uint64_t next_u64();
  double uniform();                          // [0, 1), 53 bits
  std::uint64_t below(std::uint64_t bound);  // [0, bound), unbiased (Lemire 2019); bound > 0
  double normal();                           // Box-Muller, in double
  // Standard normals from the next whole blocks on, four to a block; another sequence than normal(), many times faster,
  // and the same bits on every processor.
  void fill_normal(std::span<float> out);

 private:
  std::uint64_t key_;
  std::uint64_t counter_;
  std::uint64_t block_ = 0;
  std::array<std::uint32_t, 4> words_{};
  int used_ = 4;
  double spare_normal_ = 0.0;
  bool has_spare_ = false;
};

// Root of all randomness of a run.
class SeedTree {
 public:
  explicit SeedTree(std::uint64_t root) : root_(root) {}

  // purpose: "init", "order", "noise", "timestep", "caption_dropout", ...; scope: a shard's name, or "" where
  // ingredients must agree; counter: the global image counter (or epoch).
  [[nodiscard]] RandomStream stream(std::string_view purpose, std::string_view scope, std::uint64_t counter) const;
  [[nodiscard]] std::uint64_t root() const { return root_; }

 private:
  std::uint64_t root_;
};

}  // namespace soup
