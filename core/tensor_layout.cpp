#include "core/tensor_layout.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace soup {

namespace {

const TensorSlot* find_slot(std::span<const TensorSlot> slots, std::string_view name) {
  const auto found = std::ranges::find(slots, name, &TensorSlot::name);
  return found == slots.end() ? nullptr : &*found;
}

std::string shape_text(const TensorSlot& slot) {
  return fmt::format("[{}]", fmt::join(slot.shape, ", "));
}

}  // namespace

void TensorLayout::append(std::string name, std::vector<std::int64_t> shape) {
  SOUP_REQUIRE(find_slot(slots_, name) == nullptr, "tensor " + name + " is in the layout twice");
  std::uint64_t elements = 1;
  for (const std::int64_t extent : shape) {
    SOUP_REQUIRE(extent >= 0, "tensor " + name + " has a negative extent " + std::to_string(extent));
    SOUP_REQUIRE(!__builtin_mul_overflow(elements, static_cast<std::uint64_t>(extent), &elements),
                 "tensor " + name + " has more than 2^64 elements");
  }
  std::uint64_t total = 0;
  SOUP_REQUIRE(!__builtin_add_overflow(count_, elements, &total), "the layout has more than 2^64 elements");
  slots_.push_back({std::move(name), std::move(shape), count_, elements});
  count_ = total;
}

const TensorSlot& TensorLayout::at_offset(std::uint64_t offset) const {
  SOUP_REQUIRE(offset < count_,
               "element " + std::to_string(offset) + " of a layout with " + std::to_string(count_) + " elements");
  // The last slot that begins at or before the element; empty slots before it share its offset and come earlier.
  const auto next = std::ranges::upper_bound(slots_, offset, {}, &TensorSlot::offset);
  return *std::prev(next);
}

Digest TensorLayout::digest() const {
  Sha256 sha;
  sha.update_field("soup tensor layout 1").update_u64(slots_.size());
  for (const TensorSlot& slot : slots_) {
    sha.update_field(slot.name).update_u64(slot.shape.size());
    for (const std::int64_t extent : slot.shape) {
      sha.update_u64(static_cast<std::uint64_t>(extent));
    }
  }
  return sha.finish();
}

std::string TensorLayout::difference(const TensorLayout& other, std::string_view this_name,
                                     std::string_view other_name) const {
  const std::size_t common = std::min(slots_.size(), other.slots_.size());
  for (std::size_t i = 0; i < common; ++i) {
    const TensorSlot& mine = slots_[i];
    const TensorSlot& theirs = other.slots_[i];
    if (mine.name != theirs.name) {
      if (find_slot(other.slots_, mine.name) == nullptr) {
        return fmt::format("tensor {} is in {} but not in {}", mine.name, this_name, other_name);
      }
      if (find_slot(slots_, theirs.name) == nullptr) {
        return fmt::format("tensor {} is in {} but not in {}", theirs.name, other_name, this_name);
      }
      return fmt::format("tensor number {} is {} in {} and {} in {}", i, mine.name, this_name, theirs.name, other_name);
    }
    if (mine.shape != theirs.shape) {
      return fmt::format("tensor {} has shape {} in {} and {} in {}", mine.name, shape_text(mine), this_name,
                         shape_text(theirs), other_name);
    }
  }
  if (slots_.size() > common) {
    return fmt::format("tensor {} is in {} but not in {}", slots_[common].name, this_name, other_name);
  }
  if (other.slots_.size() > common) {
    return fmt::format("tensor {} is in {} but not in {}", other.slots_[common].name, other_name, this_name);
  }
  return {};
}

}  // namespace soup
