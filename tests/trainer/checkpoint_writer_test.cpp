// Checkpoints written beside training: what they hold, what is logged of them, and where their errors come out.
#include "trainer/checkpoint_writer.hpp"

#include <gmock/gmock.h>

#include <algorithm>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

class CheckpointWriterTest : public testing::Test {
 protected:
  static constexpr std::size_t count = 1000;

  CheckpointWriter::Place place() {
    fs::create_directories(folder_.path() / "stage");
    return {"ingredient/one", folder_.path() / "stage", sha256("key"), sha256("layout"), 2};
  }
  // All values are `value`, and another one as soon as the writer has them.
  static void write(CheckpointWriter& writer, std::uint64_t images, float value) {
    TrainClock clock;
    clock.images = images;
    writer.write(clock, [value](const TrainBuffers& buffers) {
      for (const std::span<float> buffer : {buffers.weights, buffers.first_moment, buffers.second_moment}) {
        ASSERT_EQ(buffer.size(), count);
        std::ranges::fill(buffer, value);
      }
      ASSERT_TRUE(buffers.ema.empty());
    });
  }
  static CheckpointSizes sizes() { return {count, 0, count, count}; }
  std::optional<TrainClock> read(std::vector<float>& weights) {
    weights.resize(count);
    std::vector<float> first(count);
    std::vector<float> second(count);
    return read_checkpoint(folder_.path() / "stage", sha256("key"), sha256("layout"), {weights, {}, first, second},
                           log_);
  }

  test::TemporaryFolder folder_;
  Log log_{1};
};

TEST_F(CheckpointWriterTest, TheLastOneIsTheNewest) {
  log_.open_file(folder_.path() / "log.jsonl");
  CheckpointWriter writer(place(), sizes(), log_);
  for (int i = 1; i <= 5; ++i) {
    write(writer, static_cast<std::uint64_t>(i) * 16, static_cast<float>(i));
  }
  writer.finish();
  std::vector<float> weights;
  EXPECT_EQ(read(weights)->images, 80U);
  EXPECT_EQ(weights, std::vector<float>(count, 5.0F));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path() / "stage"), {}), 2);
  const std::string log = read_file(folder_.path() / "log.jsonl");
  EXPECT_THAT(log, testing::ContainsRegex("\"event\":\"checkpoint\".*\"images\":80"));
  EXPECT_THAT(log, testing::HasSubstr("\"waited_seconds\":"));
}

TEST_F(CheckpointWriterTest, AnErrorComesOutAtTheNextCall) {
  CheckpointWriter writer(place(), sizes(), log_);
  write(writer, 16, 1.0F);
  writer.finish();
  fs::rename(folder_.path() / "stage", folder_.path() / "moved");
  write(writer, 32, 2.0F);
  EXPECT_THROW(writer.finish(), DataError);
  write(writer, 48, 3.0F);
  EXPECT_THROW(write(writer, 64, 4.0F), DataError);
  fs::rename(folder_.path() / "moved", folder_.path() / "stage");
  // What was written before is there, and it goes on.
  std::vector<float> weights;
  EXPECT_EQ(read(weights)->images, 16U);
  write(writer, 80, 5.0F);
  writer.finish();
  EXPECT_EQ(read(weights)->images, 80U);
}

}  // namespace
}  // namespace soup
