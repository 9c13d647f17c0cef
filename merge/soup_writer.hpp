// One part of a soup being written from integer sums, with the accumulator that keeps the sums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/safetensors.hpp"
#include "merge/accumulator.hpp"
#include "merge/weights.hpp"
#include "merge/weights_writer.hpp"

namespace soup {

// What turns sums into weights.
struct SoupScale {
  std::int64_t total_weight = 1;
  int scale_bits = 44;
  // Of the soup's floating tensors; absent: each has its ingredients' type.
  std::optional<DType> dtype = DType::f32;
};

// The type that a tensor of an ingredient has in the soup.
[[nodiscard]] DType soup_dtype(DType ingredient, const SoupScale& scale);

// The soup's values of `sums` in the type `dtype`, in out[0, sums.size() * size_of(dtype)). Throws DataError naming
// `tensor` for a value that the type cannot hold.
void finish_as(DType dtype, std::span<const std::int64_t> sums, const SoupScale& scale, std::string_view tensor,
               std::span<std::byte> out);

// Values in the type `dtype`, with one rounding, in out[0, values.size() * size_of(dtype)). Throws DataError naming
// `tensor` for a value that is not finite or that the type cannot hold.
void encode_as(DType dtype, std::span<const double> values, std::string_view tensor, std::span<std::byte> out);

class SoupWriter {
 public:
  // Form and integer tensors are those of `like`, an ingredient's weights, which must outlive this object. Weights go
  // to `layout` below `folder`, and sums, if they are kept, to the same names below folder/accumulator.
  SoupWriter(const std::filesystem::path& folder, const FileLayout& layout, const Weights& like, const SoupScale& scale,
             AccumulatorKind accumulator, std::size_t metadata_bytes);

  // Buffers of one thread.
  struct Scratch {
    std::vector<std::byte> soup;      // what put() wrote of the soup
    std::span<const std::byte> sums;  // and of the accumulator, while put()'s sums are there; empty when it is not kept
    std::vector<std::int32_t> rests;  // of a compact accumulator
  };
  // Sums of tensor number `tensor` of like.tensors() from element `first` on. Calls for different elements may come
  // from different threads.
  void put(std::size_t tensor, std::uint64_t first, std::span<const std::int64_t> sums, Scratch& scratch);
  // The same in steps, for who has sums strip by strip: room for `count` elements, then each strip from the `begin`th
  // of them on while its sums are in the cache, then the files. `first` is the whole block's but in finish(); so are
  // write()'s `sums` where keeps_sums(), and not looked at elsewhere.
  void prepare(std::size_t tensor, std::size_t count, Scratch& scratch) const;
  void finish(std::size_t tensor, std::uint64_t first, std::size_t begin, std::span<const std::int64_t> strip,
              Scratch& scratch) const;
  void write(std::size_t tensor, std::uint64_t first, std::span<const std::int64_t> sums, Scratch& scratch);
  // Values that are no sums, for a soup without accumulator.
  void put(std::size_t tensor, std::uint64_t first, std::span<const double> values, Scratch& scratch);
  // An integer tensor's elements, as they are.
  void copy(std::size_t tensor, std::uint64_t first, std::span<const std::byte> bytes);
  void set_metadata(const std::map<std::string, std::string>& metadata);

  [[nodiscard]] const Weights& like() const { return like_; }
  [[nodiscard]] const SoupScale& scale() const { return scale_; }
  // The accumulator is the sums themselves: write() needs those of the whole block.
  [[nodiscard]] bool keeps_sums() const { return kind_ == AccumulatorKind::wide; }
  // The form of the soup's tensors (in the order of like.tensors()) and of the accumulator's.
  [[nodiscard]] std::span<const WeightTensor> tensors() const { return tensors_; }
  [[nodiscard]] std::span<const WeightTensor> accumulator_tensors() const { return accumulator_tensors_; }
  // The accumulator's number of a floating tensor.
  [[nodiscard]] std::size_t accumulator_index(std::size_t tensor) const { return accumulator_index_[tensor]; }

 private:
  const Weights& like_;
  SoupScale scale_;
  AccumulatorKind kind_;
  std::vector<WeightTensor> tensors_;
  std::vector<WeightTensor> accumulator_tensors_;
  std::vector<std::size_t> accumulator_index_;
  std::optional<WeightsWriter> soup_;
  std::optional<WeightsWriter> accumulator_;
};

}  // namespace soup
