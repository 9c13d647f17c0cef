// Common origin or no soup (DESIGN promise 2): what ingredients must share, checked before any work.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/safetensors.hpp"
#include "merge/model_folder.hpp"

namespace soup {

struct Origin {
  std::string name;                   // the ingredient's
  std::optional<Digest> base_digest;  // absent when the model does not say
};

// All name the same base, or none names any. Throws DataError naming two ingredients and their digests.
void require_same_base(std::span<const Origin> origins);

enum class FloatTypes { equal, any };  // `any`: a soup may be F32 where its ingredients are F16

// The same tensors with the same shapes and types, and integer tensors of equal content. Throws DataError (at `b`'s
// path) naming the tensor and the two values that differ.
void require_same_tensors(const SafetensorsFile& a, const std::string& a_name, const SafetensorsFile& b,
                          const std::string& b_name, FloatTypes float_types = FloatTypes::equal);

// The same parts in the same files; in the parts not averaged the same weights; all other files byte for byte equal.
void require_same_model(const ModelFolder& a, const std::string& a_name, const ModelFolder& b,
                        const std::string& b_name, std::span<const std::string> averaged_parts);

}  // namespace soup
