// Shard files: round trip, the format as other programs see it, and every refusal.
#include "data/shard_file.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <functional>

#include "data/duplicates.hpp"
#include "data/hdf5_handle.hpp"
#include "data/shard_seal.hpp"
#include "tests/data/samples.hpp"
#include "tests/support/command.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

class Shards : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path path() const { return folder_.path() / "north.h5"; }
  [[nodiscard]] std::string open_error() const {
    return test::data_error([&] { ShardFile file(path()); });
  }
  // Changes the file through HDF5 and seals it again, so that the reader's own checks are reached.
  void change(const std::function<void(hid_t file)>& edit) {
    ShardSeal seal = check_seal(path());
    {
      Hdf5File file(H5Fopen(path().c_str(), H5F_ACC_RDWR, H5P_DEFAULT));
      ASSERT_GE(file.get(), 0);
      edit(file.get());
    }
    seal.file_bytes = std::filesystem::file_size(path());
    seal.rest = digest_without_blocks(path(), seal);
    write_seal(path(), seal);
  }
  static void replace_dataset(hid_t file, const char* name, hid_t type, const std::vector<hsize_t>& shape) {
    ASSERT_GE(H5Ldelete(file, name, H5P_DEFAULT), 0);
    Hdf5Space space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr));
    Hdf5Dataset dataset(H5Dcreate2(file, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    ASSERT_GE(dataset.get(), 0);
  }
  test::TemporaryFolder folder_;
};

TEST_F(Shards, RoundTrip) {
  std::vector<Sample> samples;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const std::string n = std::to_string(i);
    samples.push_back({test::noise_image(6, 5, 3, i), "apps caf\xc3\xa9 " + n, "key " + n, i % 2 == 0 ? "" : "tango",
                       "32x32/" + n + ".png"});
  }
  samples[7].caption = "";
  samples[8].caption = std::string(4096, 'c');
  ShardWriter writer(path(), test::origin, 6, 5, 3);
  for (const Sample& sample : samples) {
    writer.append(sample);
  }
  EXPECT_FALSE(std::filesystem::exists(path()));  // not under its name before it is whole
  writer.finish();
  EXPECT_EQ(test::count_entries(folder_.path()), 1U);

  const ShardFile file(path());
  ASSERT_EQ(file.size(), samples.size());
  EXPECT_EQ(file.height(), 6);
  EXPECT_EQ(file.width(), 5);
  EXPECT_EQ(file.channels(), 3);
  EXPECT_EQ(file.origin().name, "north");
  EXPECT_EQ(file.origin().source, "icon theme north");
  EXPECT_EQ(file.origin().package, "north-icon-theme");
  EXPECT_EQ(file.origin().licence, "LGPL-3+");
  std::vector<Digest> digests;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto pixels = file.pixels(i);
    ASSERT_EQ(std::vector(pixels.begin(), pixels.end()), samples[i].image.pixels);
    ASSERT_EQ(file.caption(i), samples[i].caption);
    ASSERT_EQ(file.key(i), samples[i].key);
    ASSERT_EQ(file.style(i), samples[i].style);
    ASSERT_EQ(file.source(i), samples[i].source);
    ASSERT_EQ(file.digest(i), sample_digest(pixels, samples[i].caption, samples[i].key, samples[i].style));
    ASSERT_EQ(file.pixel_digest(i), sha256(std::as_bytes(pixels)));
    ASSERT_EQ(file.perceptual_hash(i), difference_hash(samples[i].image));
    digests.push_back(file.digest(i));
  }
  EXPECT_EQ(file.root(), merkle_root(digests));
  EXPECT_NO_THROW(file.verify());
  EXPECT_THROW(static_cast<void>(file.pixels(300)), InvariantError);
}

TEST_F(Shards, EqualContentGivesEqualBytes) {
  test::write_noise_shard(path(), 20);
  const std::string first = test::read_bytes(path());
  test::write_noise_shard(path(), 20);  // replaces the file
  EXPECT_EQ(test::read_bytes(path()), first);
}

TEST_F(Shards, LargerThanOneCopyBlock) {
  // 200 images of 128 x 128 x 3 are 9.8 MB; pixels are copied 8 MiB at a time.
  ShardWriter writer(path(), test::origin, 128, 128, 3);
  for (std::uint64_t i = 0; i < 200; ++i) {
    writer.append(test::sample(test::flat_image(128, 128, static_cast<std::uint8_t>(i)), "c", "k"));
  }
  writer.finish();
  const ShardFile file(path());
  for (std::size_t i = 0; i < 200; ++i) {
    ASSERT_EQ(file.pixels(i).front(), i);
    ASSERT_EQ(file.pixels(i).back(), i);
  }
}

TEST_F(Shards, OfOneImageWorksAndOfNoneIsRefused) {
  test::write_noise_shard(path(), 1);
  EXPECT_EQ(ShardFile(path()).size(), 1U);
  std::filesystem::remove(path());
  const std::string error = test::data_error([&] { test::write_noise_shard(path(), 0); });
  EXPECT_THAT(error, HasSubstr("no images"));
  EXPECT_EQ(test::count_entries(folder_.path()), 0U);
}

TEST_F(Shards, RefuseWhatTheyCannotStore) {
  EXPECT_THROW(ShardWriter(path(), test::origin, 0, 5, 3), DataError);
  EXPECT_THROW(ShardWriter(path(), test::origin, 6, 5, 5), DataError);
  EXPECT_THROW(ShardWriter(path(), {"n\xff", "", "", ""}, 6, 5, 3), DataError);
  EXPECT_THROW(ShardWriter(folder_.path() / "missing" / "north.h5", test::origin, 6, 5, 3), DataError);
  ShardWriter writer(path(), test::origin, 6, 5, 3);
  const auto refused = [&](const Sample& sample) { return test::data_error([&] { writer.append(sample); }); };
  const Image image = test::noise_image(6, 5, 3, 1);
  EXPECT_THAT(refused(test::sample(image, std::string(4097, 'c'), "k")), HasSubstr("4097"));
  EXPECT_THAT(refused(test::sample(image, "caf\xe9", "k")), HasSubstr("UTF-8"));
  EXPECT_THAT(refused(test::sample(image, "c", "\xc0\x80")), HasSubstr("UTF-8"));
  EXPECT_THAT(refused(test::sample(image, std::string("a\0b", 3), "k")), HasSubstr("zero byte"));
  EXPECT_THAT(refused(test::sample(test::noise_image(5, 6, 3, 1), "c", "k")), HasSubstr("5 x 6 x 3"));
  EXPECT_THAT(refused(test::sample(test::noise_image(6, 5, 1, 1), "c", "k")), HasSubstr("6 x 5 x 1"));
  EXPECT_THAT(refused(test::sample({6, 5, 3, {1, 2}}, "c", "k")), HasSubstr("2 bytes"));
  writer.append(test::sample(image, "c", "k"));  // a refused sample leaves nothing behind
  writer.finish();
  EXPECT_EQ(ShardFile(path()).size(), 1U);
  EXPECT_NO_THROW(ShardFile(path()).verify());
}

TEST_F(Shards, AnUnfinishedOneLeavesNothing) {
  {
    ShardWriter writer(path(), test::origin, 6, 5, 3);
    writer.append(test::sample(test::noise_image(6, 5, 3, 1), "c", "k"));
  }
  EXPECT_EQ(test::count_entries(folder_.path()), 0U);
}

TEST_F(Shards, AFullDiskIsADataErrorAndLeavesNothing) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20000, 20000};  // bytes a file may have; the shard needs 90 x 1,000
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      test::write_noise_shard(path(), 1000);
    } catch (const DataError&) {
      _exit(42);
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_EQ(test::count_entries(folder_.path()), 0U);
}

TEST_F(Shards, RawHdf5ReadsThem) {
  test::write_noise_shard(path(), 9);
  const ShardFile ours(path());
  Hdf5File file(H5Fopen(path().c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  ASSERT_GE(file.get(), 0);
  Hdf5Dataset images(H5Dopen2(file.get(), "images", H5P_DEFAULT));
  Hdf5Space space(H5Dget_space(images.get()));
  std::array<hsize_t, 4> shape{};
  ASSERT_EQ(H5Sget_simple_extent_dims(space.get(), shape.data(), nullptr), 4);
  EXPECT_EQ(shape, (std::array<hsize_t, 4>{9, 6, 5, 3}));
  std::vector<std::uint8_t> pixels(9 * 90);
  ASSERT_GE(H5Dread(images.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, pixels.data()), 0);
  for (std::size_t i = 0; i < 9; ++i) {
    EXPECT_TRUE(std::equal(ours.pixels(i).begin(), ours.pixels(i).end(), pixels.begin() + static_cast<long>(90 * i)));
  }
  Hdf5Dataset digests(H5Dopen2(file.get(), "digests", H5P_DEFAULT));
  std::array<std::uint8_t, 9 * 32> raw{};
  ASSERT_GE(H5Dread(digests.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw.data()), 0);
  const Digest last = ours.digest(8);
  EXPECT_TRUE(std::equal(last.bytes.begin(), last.bytes.end(), raw.begin() + 8 * 32));
}

TEST_F(Shards, H5dumpReadsThem) {
  test::write_noise_shard(path(), 3);
  const std::string command = "h5dump -A " + path().string() + " && h5dump -r -d captions/text " + path().string();
  const auto [code, text] = test::run_command(command);
  ASSERT_EQ(code, 0) << "h5dump is in the package hdf5-tools\n" << text;
  for (const char* expected : {"\"soup-shard\"", "\"LGPL-3+\"", "( 3, 6, 5, 3 )", "H5T_CSET_UTF8",
                               "apps word0apps word1apps word2", "GROUP \"captions\"", "\"north-icon-theme\"",
                               "DATASET \"pixel_digests\"", "DATASET \"perceptual_hashes\"", "ATTRIBUTE \"program\""}) {
    EXPECT_THAT(text, HasSubstr(expected));
  }
}

TEST_F(Shards, OtherFilesAreRefused) {
  EXPECT_THAT(open_error(), HasSubstr("does not exist"));
  test::write_text(path(), "");
  EXPECT_THAT(open_error(), HasSubstr("not a soup shard file"));
  test::write_text(path(), std::string(100000, 'x'));
  EXPECT_THAT(open_error(), HasSubstr("not a soup shard file"));
  { Hdf5File other(H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)); }
  EXPECT_THAT(open_error(), HasSubstr("HDF5 file but not a soup shard"));
  std::filesystem::remove(path());
  std::filesystem::create_directory(path());
  EXPECT_THAT(open_error(), HasSubstr("not a regular file"));
}

TEST_F(Shards, AnotherVersionIsRefusedWithBothNumbers) {
  test::write_noise_shard(path(), 3);
  std::string bytes = test::read_bytes(path());
  ASSERT_EQ(bytes.substr(0, 13), "soup-shard 2\n");
  bytes[11] = '1';
  test::write_text(path(), bytes);
  EXPECT_THAT(open_error(), testing::AllOf(HasSubstr("version 1"), HasSubstr("reads version 2"),
                                           HasSubstr("import the shard again")));
}

TEST_F(Shards, TruncatedOnesAreRefusedWithBothLengths) {
  test::write_noise_shard(path(), 50);
  const auto bytes = std::filesystem::file_size(path());
  for (const std::uintmax_t length : {bytes - 1, bytes / 2, std::uintmax_t{600}}) {
    std::filesystem::resize_file(path(), length);
    EXPECT_THAT(open_error(), testing::AllOf(HasSubstr(std::to_string(length) + " bytes"),
                                             HasSubstr(std::to_string(bytes)), HasSubstr("truncated")));
  }
  std::filesystem::resize_file(path(), 511);
  EXPECT_FALSE(open_error().empty());
}

TEST_F(Shards, AMissingDatasetIsNamed) {
  for (const char* name : {"images", "captions/text", "keys/offsets", "styles/text", "sources/offsets", "digests",
                           "pixel_digests", "perceptual_hashes"}) {
    test::write_noise_shard(path(), 4);
    change([&](hid_t file) { ASSERT_GE(H5Ldelete(file, name, H5P_DEFAULT), 0); });
    EXPECT_THAT(open_error(), HasSubstr(std::string("no dataset \"") + name + "\""));
  }
}

TEST_F(Shards, AMissingAttributeIsNamed) {
  for (const char* name : {"format", "root", "name", "source", "package", "licence"}) {
    test::write_noise_shard(path(), 4);
    change([&](hid_t file) { ASSERT_GE(H5Adelete(file, name), 0); });
    EXPECT_THAT(open_error(), HasSubstr(std::string("no attribute \"") + name + "\""));
  }
}

TEST_F(Shards, WrongShapesAndTypesAreRefused) {
  const auto changed = [&](const char* name, hid_t type, const std::vector<hsize_t>& shape) {
    test::write_noise_shard(path(), 4);
    change([&](hid_t file) { replace_dataset(file, name, type, shape); });
    return open_error();
  };
  EXPECT_THAT(changed("digests", H5T_STD_U8LE, {4, 31}), HasSubstr("[4, 31]; expected [4, 32]"));
  EXPECT_THAT(changed("digests", H5T_STD_U8LE, {3, 32}), HasSubstr("[3, 32]; expected [4, 32]"));
  EXPECT_THAT(changed("perceptual_hashes", H5T_STD_U32LE, {4}), HasSubstr("another type"));
  EXPECT_THAT(changed("perceptual_hashes", H5T_STD_I64LE, {4}), HasSubstr("another type"));
  EXPECT_THAT(changed("captions/text", H5T_STD_I8LE, {4}), HasSubstr("another type"));
  EXPECT_THAT(changed("images", H5T_STD_U8LE, {4, 90}), HasSubstr("4 dimensions"));
  EXPECT_THAT(changed("images", H5T_STD_U8LE, {4, 6, 500, 4}), HasSubstr("the file holds"));
  EXPECT_THAT(changed("images", H5T_STD_U8LE, {4, 6, 5, 3}), HasSubstr("do not lie where"));
  EXPECT_THAT(changed("images", H5T_STD_U8LE, {1ULL << 32, 1ULL << 31, 2, 1}), HasSubstr("the file holds"));
}

TEST_F(Shards, VerifyNamesTheImageThatChanged) {
  test::write_noise_shard(path(), 8);
  const ShardSeal seal = check_seal(path());
  std::string bytes = test::read_bytes(path());
  bytes[seal.blocks[0].offset + 5 * 90 + 17] ^= 1;
  test::write_text(path(), bytes);
  const ShardFile file(path());  // pixels are not read when opening
  EXPECT_THAT(test::data_error([&] { file.verify(); }), testing::AllOf(HasSubstr("image 5"), HasSubstr("word5")));
}

TEST_F(Shards, VerifyFindsAChangedRoot) {
  test::write_noise_shard(path(), 4);
  change([&](hid_t file) {
    Hdf5Attribute root(H5Aopen(file, "root", H5P_DEFAULT));
    Hdf5Type type(H5Aget_type(root.get()));
    const std::string other(64, 'a');
    const char* pointer = other.c_str();
    ASSERT_GE(H5Awrite(root.get(), type.get(), &pointer), 0);
  });
  const ShardFile file(path());
  EXPECT_THAT(test::data_error([&] { file.verify(); }), HasSubstr("Merkle root"));
}

TEST(SampleDigest, HasNoTwoReadings) {
  const std::array<std::uint8_t, 3> pixels{1, 2, 3};
  EXPECT_NE(sample_digest(pixels, "ab", "c", ""), sample_digest(pixels, "a", "bc", ""));
  EXPECT_NE(sample_digest(pixels, "ab", "c", ""), sample_digest(pixels, "ab", "", "c"));
}

}  // namespace
}  // namespace soup
