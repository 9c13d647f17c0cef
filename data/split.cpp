#include "data/split.hpp"

#include "core/error.hpp"

namespace soup {

bool HeldOut::contains(std::string_view key) const {
  const Digest digest = Sha256().update("soup held-out keys").update_u64(seed).update_field(key).finish();
  std::uint64_t bits = 0;
  for (int i = 0; i < 8; ++i) {
    bits = bits << 8 | digest.bytes[static_cast<std::size_t>(i)];
  }
  return static_cast<double>(bits >> 11) * 0x1p-53 < fraction;  // 53 bits: exact in a double
}

TrainingSet training_set(const ShardFile& shard, const HeldOut& held_out, const std::set<std::uint64_t>& dropped) {
  SOUP_REQUIRE(dropped.empty() || *dropped.rbegin() < shard.size(), "a dropped image is one of the shard's");
  TrainingSet set;
  std::vector<Digest> digests;
  for (std::uint64_t i = 0; i < shard.size(); ++i) {
    if (!dropped.contains(i) && !held_out.contains(shard.key(i))) {
      set.images.push_back(i);
      digests.push_back(shard.digest(i));
    }
  }
  set.digest = merkle_root(digests);
  return set;
}

std::vector<std::uint64_t> held_out_set(const ShardFile& shard, const HeldOut& held_out) {
  std::vector<std::uint64_t> images;
  for (std::uint64_t i = 0; i < shard.size(); ++i) {
    if (held_out.contains(shard.key(i))) {
      images.push_back(i);
    }
  }
  return images;
}

}  // namespace soup
