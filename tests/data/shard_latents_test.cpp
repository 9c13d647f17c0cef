// Encoded images and texts in a shard: written from files of numbers, mapped where they lie, found when damaged.
#include "data/shard_latents.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "data/hdf5_handle.hpp"
#include "tests/data/samples.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

template <typename Value>
std::string bytes_of_values(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}

class ShardLatents : public testing::Test {
 protected:
  // Three images of 8 x 16 and two of 16 x 8.
  ShardLatents() {
    ShardWriter writer(path_, test::origin, sha256("source"));
    for (std::uint64_t i = 0; i < 5; ++i) {
      const bool wide = i % 2 == 0;
      writer.append(test::sample(test::noise_image(wide ? 8 : 16, wide ? 16 : 8, 3, i), "c" + std::to_string(i), "k"));
    }
    writer.finish();
    // 2 channels of 1 x 2 or 2 x 1 numbers an image, in 16 bits: any bytes will do.
    std::vector<std::uint16_t> moments;
    for (std::uint16_t i = 0; i < 5 * 4; ++i) {
      moments.push_back(static_cast<std::uint16_t>(0x3c00 + i));
    }
    files_.moments_format = MomentsFormat{FloatType::f16, 2, 8, "vae digest"};
    files_.moments = folder_ / "moments";
    test::write_text(files_.moments, bytes_of_values(moments));
    std::vector<float> states;
    for (int i = 0; i < 7 * 3 * 2; ++i) {
      states.push_back(static_cast<float>(i) / 4.0F);
    }
    files_.text_format = TextStatesFormat{FloatType::f32, 7, 3, 2, "clip digest"};
    files_.text_states = folder_ / "states";
    test::write_text(files_.text_states, bytes_of_values(states));
    files_.text_index = folder_ / "index";
    test::write_text(files_.text_index, bytes_of_values(std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 0, 1, 6}));
  }
  std::string error() {
    return test::data_error([&] { add_encoded(ShardFile(path_), files_, folder_ / "out.h5"); });
  }
  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "north.h5";
  EncodedFiles files_;
};

TEST_F(ShardLatents, AreMappedWhereTheyLie) {
  const Digest root = ShardFile(path_).root();
  EXPECT_FALSE(ShardFile(path_).moments_format());
  add_encoded(ShardFile(path_), files_, path_);  // in place of the shard itself
  const ShardFile file(path_);
  EXPECT_EQ(file.root(), root);
  EXPECT_NO_THROW(file.verify());
  ASSERT_EQ(file.moments_format(), files_.moments_format);
  ASSERT_EQ(file.text_states_format(), files_.text_format);
  for (std::size_t i = 0; i < 5; ++i) {
    std::array<std::uint16_t, 4> numbers{};
    ASSERT_EQ(file.moments(i).size(), sizeof numbers);
    std::memcpy(numbers.data(), file.moments(i).data(), sizeof numbers);
    EXPECT_EQ(numbers[3], 0x3c00 + 4 * i + 3);
  }
  EXPECT_EQ(file.text_index(3).plain, 6U);
  EXPECT_EQ(file.text_index(4).styled, 6U);
  std::array<float, 6> states{};
  ASSERT_EQ(file.text_states(6).size(), sizeof states);
  std::memcpy(states.data(), file.text_states(6).data(), sizeof states);
  EXPECT_EQ(states[5], 41.0F / 4.0F);
  const Image last = test::noise_image(16, 8, 3, 3);
  EXPECT_TRUE(std::equal(last.pixels.begin(), last.pixels.end(), file.pixels(4).begin()));
}

TEST_F(ShardLatents, HalvesReadAsNumbersInHdf5) {
  add_encoded(ShardFile(path_), files_, path_);
  Hdf5File raw(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  Hdf5Dataset moments(H5Dopen2(raw.get(), "buckets/0/moments", H5P_DEFAULT));
  std::array<float, 3 * 4> numbers{};
  ASSERT_GE(H5Dread(moments.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, numbers.data()), 0);
  EXPECT_EQ(numbers[0], 1.0F);                     // 0x3c00
  EXPECT_EQ(numbers[11], 1.0F + 11.0F / 1024.0F);  // 0x3c0b
}

TEST_F(ShardLatents, AreTakenOutOrRenewed) {
  add_encoded(ShardFile(path_), files_, path_);
  EncodedFiles texts = files_;
  texts.moments_format.reset();
  add_encoded(ShardFile(path_), texts, path_);
  EXPECT_FALSE(ShardFile(path_).moments_format());
  EXPECT_TRUE(ShardFile(path_).text_states_format());
  const std::string before = test::read_bytes(path_);
  add_encoded(ShardFile(path_), texts, path_);
  EXPECT_EQ(test::read_bytes(path_), before);
}

TEST_F(ShardLatents, DamageIsFound) {
  add_encoded(ShardFile(path_), files_, path_);
  const std::string whole = test::read_bytes(path_);
  const auto damaged = [&](const std::string& number) {
    std::string bytes = whole;
    const std::size_t at = bytes.find(number);
    EXPECT_NE(at, std::string::npos);
    bytes[at] ^= 1;
    test::write_text(path_, bytes);
    const ShardFile file(path_);  // blocks are not read when opening
    return test::data_error([&] { file.verify(); });
  };
  EXPECT_THAT(damaged(bytes_of_values(std::vector<std::uint16_t>{0x3c0c, 0x3c0d})), HasSubstr("moments of bucket 1"));
  EXPECT_THAT(damaged(bytes_of_values(std::vector<float>{10.0F, 10.25F})), HasSubstr("text states"));
}

TEST_F(ShardLatents, FilesThatDoNotFitAreRefused) {
  const std::string moments = test::read_bytes(files_.moments);
  test::write_text(files_.moments, moments + "x");
  EXPECT_THAT(error(), testing::AllOf(HasSubstr("41 bytes"), HasSubstr("take 40")));
  test::write_text(files_.moments, moments);
  files_.moments_format->factor = 3;
  EXPECT_THAT(error(), HasSubstr("factor of 3"));
  files_.moments_format->factor = 8;
  test::write_text(files_.text_index, bytes_of_values(std::vector<std::uint32_t>{0, 1, 2, 3, 4, 7, 6, 0, 1, 6}));
  EXPECT_THAT(error(), HasSubstr("names text 7 of 7"));
  files_.text_states = folder_ / "missing";
  EXPECT_THAT(error(), HasSubstr("missing"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.h5"));
  EXPECT_EQ(test::count_entries(folder_.path()), 4U);
}

}  // namespace
}  // namespace soup
