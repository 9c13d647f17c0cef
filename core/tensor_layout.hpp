// The order, names, shapes and offsets of tensors inside one flat buffer: what two models must share to be averaged.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.hpp"

namespace soup {

struct TensorSlot {
  std::string name;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  // elements from the start of the buffer
  std::uint64_t count = 0;   // elements
};

class TensorLayout {
 public:
  // Appends a tensor; throws InvariantError on a repeated name or a negative extent.
  void append(std::string name, std::vector<std::int64_t> shape);

  [[nodiscard]] std::span<const TensorSlot> slots() const { return slots_; }
  [[nodiscard]] std::uint64_t count() const { return count_; }  // elements in all
  // The slot that holds element `offset` of the flat buffer.
  [[nodiscard]] const TensorSlot& at_offset(std::uint64_t offset) const;
  // Digest of names, shapes and order.
  [[nodiscard]] Digest digest() const;
  // Empty when equal, else one sentence naming the first difference, with the names of the two layouts put after "in"
  // ("tensor conv_in.weight has shape [8, 3, 3, 3] in the ingredient and [16, 3, 3, 3] in the base").
  [[nodiscard]] std::string difference(const TensorLayout& other, std::string_view this_name,
                                       std::string_view other_name) const;

 private:
  std::vector<TensorSlot> slots_;
  std::uint64_t count_ = 0;
};

}  // namespace soup
