// Tensor layouts: offsets, look-up by element, digests and the sentence that names a difference.
#include "core/tensor_layout.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "core/error.hpp"

namespace soup {
namespace {

TensorLayout layout_of(const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors) {
  TensorLayout layout;
  for (const auto& [name, shape] : tensors) {
    layout.append(name, shape);
  }
  return layout;
}

TEST(TensorLayout, OffsetsFollowEachOther) {
  const TensorLayout layout = layout_of({{"a", {2, 3}}, {"scalar", {}}, {"none", {0, 7}}, {"b", {4}}});
  EXPECT_EQ(layout.count(), 11);
  EXPECT_EQ(layout.slots()[0].count, 6);
  EXPECT_EQ(layout.slots()[1].offset, 6);
  EXPECT_EQ(layout.slots()[1].count, 1);
  EXPECT_EQ(layout.slots()[2].count, 0);
  EXPECT_EQ(layout.slots()[3].offset, 7);
}

TEST(TensorLayout, EveryElementIsFound) {
  const TensorLayout layout = layout_of({{"none", {0}}, {"a", {2}}, {"none2", {0}}, {"b", {3}}, {"none3", {0}}});
  for (const std::uint64_t offset : {0, 1}) {
    EXPECT_EQ(layout.at_offset(offset).name, "a");
  }
  for (const std::uint64_t offset : {2, 3, 4}) {
    EXPECT_EQ(layout.at_offset(offset).name, "b");
  }
  EXPECT_THROW((void)layout.at_offset(5), InvariantError);
  EXPECT_THROW((void)TensorLayout().at_offset(0), InvariantError);
}

TEST(TensorLayout, RefusesNonsense) {
  TensorLayout layout = layout_of({{"a", {2}}});
  EXPECT_THROW(layout.append("a", {3}), InvariantError);
  EXPECT_THROW(layout.append("b", {-1}), InvariantError);
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  EXPECT_THROW(layout.append("c", {huge, huge}), InvariantError);
  EXPECT_EQ(layout.count(), 2);
  EXPECT_EQ(layout.slots().size(), 1);
}

TEST(TensorLayout, DigestFollowsNamesShapesAndOrder) {
  const Digest digest = layout_of({{"a", {2, 3}}, {"b", {1}}}).digest();
  EXPECT_EQ(digest, layout_of({{"a", {2, 3}}, {"b", {1}}}).digest());
  EXPECT_NE(digest, layout_of({{"b", {1}}, {"a", {2, 3}}}).digest());
  EXPECT_NE(digest, layout_of({{"a", {3, 2}}, {"b", {1}}}).digest());
  EXPECT_NE(digest, layout_of({{"a", {6}}, {"b", {1}}}).digest());
  EXPECT_NE(digest, layout_of({{"c", {2, 3}}, {"b", {1}}}).digest());
  EXPECT_NE(digest, layout_of({{"a", {2, 3}}}).digest());
  EXPECT_NE(layout_of({{"a", {}}}).digest(), layout_of({{"a", {1}}}).digest());
}

TEST(TensorLayout, DifferenceIsOneSentence) {
  const TensorLayout base = layout_of({{"conv_in.weight", {16, 3, 3, 3}}, {"conv_in.bias", {16}}});
  const auto difference = [&](const TensorLayout& layout) { return layout.difference(base, "shard k", "the base"); };
  EXPECT_EQ(difference(base), "");
  EXPECT_EQ(difference(layout_of({{"conv_in.weight", {8, 3, 3, 3}}, {"conv_in.bias", {8}}})),
            "tensor conv_in.weight has shape [8, 3, 3, 3] in shard k and [16, 3, 3, 3] in the base");
  EXPECT_EQ(difference(layout_of({{"conv_in.weight", {16, 3, 3, 3}}})),
            "tensor conv_in.bias is in the base but not in shard k");
  EXPECT_EQ(difference(layout_of({{"conv_in.weight", {16, 3, 3, 3}}, {"conv_in.bias", {16}}, {"extra", {}}})),
            "tensor extra is in shard k but not in the base");
  EXPECT_EQ(difference(layout_of({{"extra", {}}, {"conv_in.weight", {16, 3, 3, 3}}, {"conv_in.bias", {16}}})),
            "tensor extra is in shard k but not in the base");
  EXPECT_EQ(difference(layout_of({{"conv_in.bias", {16}}})), "tensor conv_in.weight is in the base but not in shard k");
  EXPECT_EQ(difference(layout_of({{"conv_in.bias", {16}}, {"conv_in.weight", {16, 3, 3, 3}}})),
            "tensor number 0 is conv_in.bias in shard k and conv_in.weight in the base");
}

}  // namespace
}  // namespace soup
