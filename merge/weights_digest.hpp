// What identifies weights: digests of tensors that do not depend on a file's order, sharding or metadata.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/safetensors.hpp"

namespace soup {

// SHA-256 over the layout's digest (tensors in name order), then each tensor's type and bytes in name order.
Digest weights_digest(std::span<const TensorSource> tensors);
Digest weights_digest(const SafetensorsFile& file);
// Of a part whose tensors are spread over several files. Throws DataError when a tensor is in two of them.
Digest weights_digest(std::span<const SafetensorsFile> files);

// Digest of a model from those of its parts ("unet", "text_encoder", ...).
Digest model_digest(const std::map<std::string, Digest>& parts);

}  // namespace soup
