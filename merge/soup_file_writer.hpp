// One weights file of a soup being written from integer sums, with the accumulator file that keeps the sums.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/safetensors.hpp"
#include "merge/safetensors_stream.hpp"

namespace soup {

// What turns sums into weights.
struct SoupScale {
  std::int64_t total_weight = 1;
  int scale_bits = 44;
  bool keep_dtype = false;  // write each tensor in its ingredients' type (one rounding from double) instead of F32
};

class SoupFileWriter {
 public:
  // Form and integer tensors are those of `like`, an ingredient's file, which must outlive this object.
  // `accumulator_path` empty: the sums are not kept.
  SoupFileWriter(const std::filesystem::path& path, const std::filesystem::path& accumulator_path,
                 const SafetensorsFile& like, const SoupScale& scale, std::size_t metadata_bytes);

  // Sums of tensor number `tensor` of like.tensors() from `element` on. Throws InvariantError for an integer tensor.
  void put(std::size_t tensor, std::uint64_t element, std::span<const std::int64_t> sums);
  void set_metadata(const std::map<std::string, std::string>& metadata);
  [[nodiscard]] const SafetensorsFile& like() const { return like_; }

 private:
  const SafetensorsFile& like_;
  SoupScale scale_;
  std::vector<DType> dtypes_;
  std::vector<std::size_t> accumulator_index_;  // tensor of `like` -> tensor of the accumulator
  SafetensorsStream soup_;
  std::optional<SafetensorsStream> accumulator_;
};

// The soup's values of `sums` in the type the file gets.
void finish_as(DType dtype, std::span<const std::int64_t> sums, const SoupScale& scale, std::vector<std::byte>& out);
// The type that a tensor of an ingredient has in the soup.
[[nodiscard]] DType soup_dtype(DType ingredient, const SoupScale& scale);

}  // namespace soup
