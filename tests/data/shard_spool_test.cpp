// Half-made shards: what is saved goes on, what is not saved never was, and whatever does not belong starts anew.
#include "data/shard_spool.hpp"

#include <gtest/gtest.h>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

class ShardSpools : public testing::Test {
 protected:
  static void append(ShardWriter& writer, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t i = from; i < to; ++i) {
      const int height = i % 3 == 0 ? 4 : 6;
      writer.append(test::sample(test::noise_image(height, 5, 3, i), "image " + std::to_string(i), "k"));
    }
  }
  ShardWriter writer(std::string_view source = "source") { return {path_, test::origin, sha256(source)}; }
  // The bytes of the shard of 40 images written in one go.
  std::string whole() {
    ShardWriter one = writer();
    append(one, 0, 40);
    one.finish();
    std::string bytes = test::read_bytes(path_);
    fs::remove(path_);
    return bytes;
  }
  test::TemporaryFolder folder_;
  fs::path path_ = folder_ / "north.h5";
  fs::path partial_ = folder_ / "north.h5.partial";
};

TEST_F(ShardSpools, GoOnToTheSameBytes) {
  const std::string expected = whole();
  {
    ShardWriter first = writer();
    EXPECT_FALSE(first.resumed());
    append(first, 0, 10);
    first.save({{"next", 10}});
    append(first, 10, 25);  // never saved
  }
  EXPECT_FALSE(fs::exists(path_));
  {
    ShardWriter second = writer();
    ASSERT_TRUE(second.resumed());
    EXPECT_EQ(second.progress().at("next"), 10);
    EXPECT_EQ(second.images(), 10U);
    append(second, 10, 30);
    second.save({{"next", 30}});
  }
  ShardWriter third = writer();
  ASSERT_TRUE(third.resumed());
  append(third, 30, 40);
  third.finish();
  EXPECT_EQ(test::read_bytes(path_), expected);
  EXPECT_EQ(test::count_entries(folder_.path()), 1U);
}

TEST_F(ShardSpools, AnotherSourceStartsAnew) {
  {
    ShardWriter first = writer("one");
    append(first, 0, 10);
    first.save({{"next", 10}});
  }
  {
    const ShardWriter second = writer("other");
    EXPECT_FALSE(second.resumed());
    EXPECT_TRUE(second.replaced_another());
    EXPECT_EQ(second.images(), 0U);
  }
  EXPECT_FALSE(writer("one").resumed());
}

TEST_F(ShardSpools, DamagedOnesStartAnew) {
  const std::string expected = whole();
  const auto damage = [&](const std::function<void()>& harm) {
    {
      ShardWriter first = writer();
      append(first, 0, 10);
      first.save({{"next", 10}});
    }
    harm();
    ShardWriter second = writer();
    EXPECT_FALSE(second.resumed());
    append(second, 0, 40);
    second.finish();
    EXPECT_EQ(test::read_bytes(path_), expected);
  };
  damage([&] { fs::remove(partial_ / "state.json"); });
  damage([&] { test::write_text(partial_ / "state.json", "{\"version\": 1"); });
  damage([&] { test::write_text(partial_ / "state.json", "{\"version\": 2}"); });
  damage([&] { fs::resize_file(partial_ / "6x5.pixels", 100); });
  damage([&] { fs::remove(partial_ / "4x5.records"); });
}

TEST_F(ShardSpools, OnlyOneImportAtATimeWritesAShard) {
  const ShardWriter first = writer();
  EXPECT_THAT(test::data_error([&] { writer(); }), testing::HasSubstr("another import is writing it"));
}

TEST_F(ShardSpools, DiscardingLeavesNothing) {
  ShardWriter first = writer();
  append(first, 0, 3);
  first.save({});
  first.discard();
  EXPECT_EQ(test::count_entries(folder_.path()), 0U);
}

}  // namespace
}  // namespace soup
