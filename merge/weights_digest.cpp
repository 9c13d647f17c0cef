// What identifies weights: digests of tensors that do not depend on a file's order, sharding, kind or metadata.
#include "merge/weights_digest.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "merge/block_loop.hpp"

namespace soup {

WeightsHasher::WeightsHasher(std::span<const WeightTensor> tensors) {
  for (const WeightTensor& tensor : tensors) {
    const std::uint64_t blocks = (tensor.elements + digest_block_elements - 1) / digest_block_elements;
    tensors_.push_back({&tensor, std::vector<Digest>(blocks)});
  }
}

void WeightsHasher::add(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes) {
  Tensor& entry = tensors_.at(tensor);
  const std::size_t block_bytes = digest_block_elements * size_of(entry.info->dtype);
  SOUP_REQUIRE(first % digest_block_elements == 0, fmt::format("element {} begins no block", first));
  for (std::size_t block = first / digest_block_elements; !bytes.empty(); ++block) {
    const std::size_t count = std::min(block_bytes, bytes.size());
    SOUP_REQUIRE(block < entry.blocks.size() && (count == block_bytes || block + 1 == entry.blocks.size()),
                 fmt::format("block {} of tensor {} with {} bytes", block, entry.info->name, count));
    entry.blocks[block] = merkle_leaf_hash(bytes.first(count));
    bytes = bytes.subspan(count);
  }
}

Digest WeightsHasher::finish() const {
  std::vector<const Tensor*> by_name;
  for (const Tensor& tensor : tensors_) {
    by_name.push_back(&tensor);
  }
  std::ranges::sort(by_name, {}, [](const Tensor* tensor) { return std::string_view(tensor->info->name); });
  Sha256 sha;
  sha.update_field("soup weights 2").update_u64(by_name.size());
  for (const Tensor* tensor : by_name) {
    sha.update_field(tensor->info->name).update_field(name_of(tensor->info->dtype));
    sha.update_u64(tensor->info->shape.size());
    for (const std::int64_t extent : tensor->info->shape) {
      sha.update_u64(static_cast<std::uint64_t>(extent));
    }
    const Digest root = merkle_root_of_leaf_hashes(tensor->blocks);
    sha.update(std::as_bytes(std::span(root.bytes)));
  }
  return sha.finish();
}

Digest weights_digest(const Weights& weights, int threads) {
  WeightsHasher hasher(weights.tensors());
  BlockLoop loop;
  loop.threads = threads;
  loop.heeds_stop = false;
  loop.run(weights.tensors(), [&](std::size_t) {
    return [&, buffer = std::vector<std::byte>()](const Block& block) mutable {
      weights.read_on(block.tensor, block.first, block.count, buffer);
      hasher.add(block.tensor, block.first, buffer);
    };
  });
  return hasher.finish();
}

Digest weights_digest(const Weights& weights) {
  return weights_digest(weights, usable_threads());
}

Digest weights_digest(std::span<const TensorSource> sources) {
  std::vector<WeightTensor> tensors;
  for (const TensorSource& source : sources) {
    tensors.push_back({source.name, source.dtype, source.shape, source.bytes.size() / size_of(source.dtype), 0});
  }
  WeightsHasher hasher(tensors);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    hasher.add(i, 0, sources[i].bytes);
  }
  return hasher.finish();
}

Digest model_digest(const std::map<std::string, Digest>& parts) {
  Sha256 sha;
  sha.update_field("soup model 1").update_u64(parts.size());
  for (const auto& [name, digest] : parts) {
    sha.update_field(name).update(std::as_bytes(std::span(digest.bytes)));
  }
  return sha.finish();
}

}  // namespace soup
