// What identifies weights: digests of tensors that do not depend on a file's order, sharding, kind or metadata.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/safetensors.hpp"
#include "merge/weights.hpp"

namespace soup {

// A tensor is hashed in blocks of so many elements (the last one shorter), which can be done at once and in any order:
// the leaves of a Merkle tree (RFC 6962).
inline constexpr std::uint64_t digest_block_elements = 65536;

// The digest of a model part from the digests of its tensors' blocks, which may come in any order.
class WeightsHasher {
 public:
  explicit WeightsHasher(std::span<const WeightTensor> tensors);

  // The bytes of tensor number `tensor` from element `first` on: whole blocks, the tensor's last block included. Calls
  // for different blocks may come from different threads.
  void add(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes);
  // SHA-256 over each tensor's name, type, shape and Merkle root, in the order of their names. Every block must have
  // been added.
  [[nodiscard]] Digest finish() const;

 private:
  struct Tensor {
    const WeightTensor* info;
    std::vector<Digest> blocks;
  };
  std::vector<Tensor> tensors_;
};

// Reads all tensors on `threads` threads.
Digest weights_digest(const Weights& weights, int threads);
Digest weights_digest(const Weights& weights);  // on all processors
// Of tensors in memory.
Digest weights_digest(std::span<const TensorSource> tensors);

// Digest of a model from those of its parts ("unet", "text_encoder", ...).
Digest model_digest(const std::map<std::string, Digest>& parts);

}  // namespace soup
