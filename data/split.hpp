// Which images train and which are held out: decided by caption key, so no style of a held-out name is ever trained on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.hpp"
#include "data/shard_file.hpp"

namespace soup {

struct HeldOut {
  double fraction = 0.1;  // of the keys
  std::uint64_t seed = 0;

  // A pure function of (seed, key): every shard and every run decides alike without talking.
  [[nodiscard]] bool contains(std::string_view key) const;
};

// The images of one shard that are trained on: all but the held out and the dropped, and the digest that provenance
// carries.
struct TrainingSet {
  std::vector<std::uint64_t> images;  // indices into the shard file, ascending
  Digest digest;                      // over the sample digests of exactly these images (Merkle root)
};
TrainingSet training_set(const ShardFile& shard, const HeldOut& held_out, const std::set<std::uint64_t>& dropped);
std::vector<std::uint64_t> held_out_set(const ShardFile& shard, const HeldOut& held_out);

}  // namespace soup
