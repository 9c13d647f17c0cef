// Common origin or no soup (DESIGN promise 2): what ingredients must share, checked before any work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "merge/model_folder.hpp"
#include "merge/weights.hpp"

namespace soup {

struct Origin {
  std::string name;                   // the ingredient's
  std::optional<Digest> base_digest;  // absent when the model does not say
};

// All name the same base, or none names any. Throws DataError naming two ingredients and their digests.
void require_same_base(std::span<const Origin> origins);

enum class FloatTypes { equal, any };  // `any`: a soup may be F32 where its ingredients are F16

// The same tensors with the same shapes and types. Throws DataError (at `b`'s path) naming the tensor and the two
// values that differ. Integer tensors must also be equal, which the sum itself finds out.
void require_same_tensors(const Weights& a, const std::string& a_name, const Weights& b, const std::string& b_name,
                          FloatTypes float_types = FloatTypes::equal);

// Elements of an integer tensor, as they lie in a file, and whose they are.
struct NamedBytes {
  std::span<const std::byte> bytes;
  std::string name;
};
// Throws DataError (at `path`, b's) naming the first element that differs, counted from `first`.
void require_equal_integers(const WeightTensor& tensor, std::uint64_t first, const NamedBytes& a, const NamedBytes& b,
                            const std::filesystem::path& path);

// The same parts; in those not averaged the same weights; all other files equal. JSON files may be laid out differently
// and differ in the keys in which libraries write their version and the folder a model was loaded from.
void require_same_model(const ModelFolder& a, const std::string& a_name, const ModelFolder& b,
                        const std::string& b_name, std::span<const std::string> averaged_parts);

}  // namespace soup
